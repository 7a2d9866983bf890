//! What programs set on their sockets, kept once for all connections for which they set the same.
//!
//! The options of a socket are two hundred bytes, and a server with a million connections has one or
//! two sets of them. So connections share them, and a change looks first whether the new set is there
//! already.

use alloc::sync::Arc;
use arrayvec::ArrayVec;

use crate::config::TcpOptions;

/// How many sets are remembered: what a listener's connections begin with, and what its program
/// makes of that, of two programs at a time. A set that was forgotten is only not shared any more.
const REMEMBERED: usize = 4;

/// The sets of options that came last, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct SharedOptions(ArrayVec<Arc<TcpOptions>, REMEMBERED>);

impl SharedOptions {
    /// `options`, shared with those who asked for the same before.
    pub(crate) fn share(&mut self, options: TcpOptions) -> Arc<TcpOptions> {
        if let Some(known) = self.0.iter().find(|known| known.is_same(&options)) {
            return Arc::clone(known);
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        let new = Arc::new(options);
        self.0.push(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ttl(ttl: u8) -> TcpOptions {
        TcpOptions { ttl: Some(ttl), ..TcpOptions::default() }
    }

    #[test]
    fn equal_options_are_kept_once() {
        let mut shared = SharedOptions::default();
        let one = shared.share(with_ttl(1));
        let other = shared.share(TcpOptions { nodelay: true, ..with_ttl(1) });
        assert!(!Arc::ptr_eq(&one, &other) && other.nodelay);
        assert!(Arc::ptr_eq(&one, &shared.share(with_ttl(1))));
        assert!(Arc::ptr_eq(&other, &shared.share(TcpOptions { nodelay: true, ..with_ttl(1) })));
    }

    #[test]
    fn a_program_that_never_sets_the_same_twice_fills_nothing() {
        let mut shared = SharedOptions::default();
        for ttl in 1..=255 {
            assert_eq!(shared.share(with_ttl(ttl)).ttl, Some(ttl));
        }
        assert_eq!(shared.0.len(), REMEMBERED);
    }

    #[test]
    fn another_controller_makes_other_options() {
        let mut shared = SharedOptions::default();
        let cubic = shared.share(TcpOptions::default());
        let congestion = crate::tcp::congestion::by_name("reno").unwrap();
        let reno = shared.share(TcpOptions { congestion, ..TcpOptions::default() });
        assert!(!Arc::ptr_eq(&cubic, &reno));
    }
}
