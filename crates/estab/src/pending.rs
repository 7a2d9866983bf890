//! A SYN that waits for a decision, as both socket families see it.

use std::io;
use std::sync::Arc;

use stack::{PendingSyn, Refusal, SocketId, Unreachable};

use crate::connection::Connection;
use crate::error::from_stack;
use crate::shards::Hold;
use crate::wait::Waiters;

/// A SYN that waits for a decision. Dropped without one, it is refused.
#[derive(Debug)]
pub(crate) struct Pending {
    shard: Arc<Hold>,
    syn: PendingSyn,
    decided: bool,
}

impl Pending {
    pub(crate) fn new(shard: &Arc<Hold>, syn: PendingSyn) -> Self {
        Self { shard: Arc::clone(shard), syn, decided: false }
    }

    pub(crate) fn syn(&self) -> &PendingSyn {
        &self.syn
    }

    /// Answers it. The connection is in SYN-RECEIVED; [`Connection::handshake`] tells how it went.
    pub(crate) fn accept(mut self) -> io::Result<Connection> {
        let waiters = Arc::new(Waiters::default());
        let accepted = self.shard.shared().call(|engine, now| {
            let id = engine.stack.accept_pending(now, self.syn.id)?;
            engine.waiters.insert(SocketId::Connection(id), Arc::clone(&waiters));
            Ok(id)
        })?;
        let id = accepted.map_err(from_stack)?;
        self.decided = true;
        Ok(Connection::with_waiters(&self.shard, id, waiters))
    }

    pub(crate) fn refuse(mut self, refusal: Refusal) -> io::Result<()> {
        self.decided = true;
        let refused = self
            .shard
            .shared()
            .call(|engine, now| engine.stack.refuse_pending(now, self.syn.id, refusal))?;
        refused.map_err(from_stack)
    }

    pub(crate) fn discard(mut self) -> io::Result<()> {
        self.decided = true;
        let dropped =
            self.shard.shared().call(|engine, now| engine.stack.drop_pending(now, self.syn.id))?;
        dropped.map_err(from_stack)
    }
}

/// What refuses a flow as whoever was asked in its stead was refused; `None` where nobody answered.
pub(crate) fn refusal_for(error: &io::Error) -> Option<Refusal> {
    Some(match error.kind() {
        io::ErrorKind::TimedOut => return None,
        io::ErrorKind::HostUnreachable => Unreachable::Host.into(),
        io::ErrorKind::NetworkUnreachable => Unreachable::Network.into(),
        io::ErrorKind::Unsupported => Unreachable::Protocol.into(),
        io::ErrorKind::PermissionDenied => Unreachable::Prohibited.into(),
        _ => Refusal::Reset,
    })
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.decided {
            // It may have gone, and the stack may have ended: then nobody waits for an answer.
            let _ = self
                .shard
                .shared()
                .call(|engine, now| engine.stack.refuse_pending(now, self.syn.id, Refusal::Reset));
        }
    }
}

/// What both families say of a SYN that waits.
macro_rules! pending_accessors {
    () => {
        /// What the SYN said: its options, the TTL of its packet and the rest.
        #[must_use]
        pub fn syn(&self) -> &PendingSyn {
            self.pending.syn()
        }

        /// Whom it was sent to: the original destination.
        #[must_use]
        pub fn local_addr(&self) -> SocketAddr {
            self.pending.syn().flow.local
        }

        /// Who sent it.
        #[must_use]
        pub fn peer_addr(&self) -> SocketAddr {
            self.pending.syn().flow.remote
        }

        /// Refuses it with a reset, as a closed port does. So does dropping it.
        ///
        /// # Errors
        /// `NotConnected` when it does not wait any more: the peer gave up, or the decision took longer
        /// than [`Config::decision_timeout`](crate::Config); `NetworkDown` when the stack has ended.
        pub fn refuse(self) -> io::Result<()> {
            self.pending.refuse(stack::Refusal::Reset)
        }

        /// Refuses it with a reset or with an ICMP error:
        /// `flow.refuse_with(stack::Unreachable::Host)`.
        ///
        /// # Errors
        /// As [`refuse`](Self::refuse).
        pub fn refuse_with(self, refusal: impl Into<stack::Refusal>) -> io::Result<()> {
            self.pending.refuse(refusal.into())
        }

        /// Answers it as somebody else was answered: with what the far end said to a proxy that dialled
        /// there first. An unreachable host or network and what a filter forbids are told by ICMP;
        /// where nobody answered (`TimedOut`), nobody answers here; all else is a reset.
        ///
        /// # Errors
        /// As [`refuse`](Self::refuse).
        pub fn fail(self, error: &io::Error) -> io::Result<()> {
            match crate::pending::refusal_for(error) {
                Some(refusal) => self.pending.refuse(refusal),
                None => self.pending.discard(),
            }
        }

        /// Drops it without an answer, as a firewall does. It is new when it comes again.
        ///
        /// # Errors
        /// As [`refuse`](Self::refuse).
        pub fn discard(self) -> io::Result<()> {
            self.pending.discard()
        }
    };
}
pub(crate) use pending_accessors;
