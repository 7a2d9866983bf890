//! What an ICMP error does to a connection (RFC 9293 3.9.2.2, RFC 5927).

use crate::error::Error;
use crate::icmp::IcmpError;
use crate::reason::{Dropped, Sent};
use crate::shared::Shared;
use crate::tcp::connection::Connection;
use crate::tcp::seq::Seq;
use crate::tcp::state::{Event, State};

impl Connection {
    /// An ICMP error quotes a segment of ours that began at `seq`.
    ///
    /// Anybody can send one, so it counts only when it quotes something that is in flight (RFC
    /// 5927 4.1), and it ends nothing but a connection attempt: an open connection keeps the
    /// error for the case that it times out (RFC 5927 5.2).
    /// Whether it did is given back.
    pub(crate) fn icmp_arrives(&mut self, shared: &mut Shared, seq: Seq, error: IcmpError) -> bool {
        if !seq.is_within(self.snd.una, self.flight_size()) {
            shared.drop_packet(Some(self.tuple()), Dropped::IcmpUnsolicited);
            return false;
        }
        match error {
            IcmpError::TooBig { next_hop_mtu } => self.packet_too_big(shared, next_hop_mtu),
            _ if self.state == State::SynSent && self.gives_up_for(error) => {
                self.fail(shared, error.error(), Event::TimedOut);
            }
            _ => self.user.soft_error = Some(error.error()),
        }
        true
    }

    /// Whether it ends an attempt to connect.
    fn gives_up_for(&self, error: IcmpError) -> bool {
        error.is_hard() || self.options.soft_errors_end_connect
    }

    /// RFC 1191 6.4: what was too big goes out again at once, in smaller segments.
    fn packet_too_big(&mut self, shared: &Shared, mtu: u16) {
        let later = shared.now.after(shared.config.mtu_probe_interval);
        if self.syn_acknowledged() && self.lower_path_mtu(later, mtu) {
            // Congestion it was not: the window stays.
            let mss = self.snd.mss;
            self.snd.work.inflight.mark_lost(|record| record.length() > mss, |_| {});
            self.snd.resending = Sent::PmtuRetransmission;
        } else if self.path_probe_too_big(self.mss_for(mtu)) {
            self.snd.resending = Sent::PmtuRetransmission;
        }
    }

    /// The next hop does not answer ARP.
    pub(crate) fn unreachable(&mut self, shared: &mut Shared, error: Error) {
        if self.state == State::SynSent {
            self.fail(shared, error, Event::TimedOut);
        } else {
            self.user.soft_error = Some(error);
        }
    }
}
