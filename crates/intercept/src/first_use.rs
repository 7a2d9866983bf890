//! What programs do first: wait for others, or turn to others ([`Options::first_use`](crate::Options)).

use crate::address::Name;
use crate::options::FirstUse;
use crate::request::{Outcome, Request};
use crate::supervisor::Supervisor;
use crate::syscall::Call;
use crate::table::Key;

impl Supervisor {
    /// Tells of a call by which a program turns to others. It does not when it names the stack itself, or
    /// nobody: a library that sorts addresses connects UDP sockets only to see from where.
    pub(crate) fn tell_before(&mut self, key: Key, request: &Request, is_udp: bool) {
        if self.options.first_use.is_none() {
            return;
        }
        let turns = match request.call {
            Call::Connect => self.names_another(key, request),
            Call::SendTo | Call::SendMessage | Call::SendMessages => is_udp,
            _ => false,
        };
        if turns {
            self.tell(FirstUse::Connects);
        }
    }

    /// Tells of a call by which a program has begun to wait for others: at a port that it chose.
    pub(crate) fn tell_after(
        &mut self,
        key: Key,
        request: &Request,
        is_udp: bool,
        outcome: Outcome,
    ) {
        if self.options.first_use.is_none() || !matches!(outcome, Outcome::Answer(Ok(_))) {
            return;
        }
        let waits = match request.call {
            Call::Listen => true,
            Call::Bind if is_udp => {
                self.local_name(key, request).is_ok_and(|local| local.port() != 0)
            }
            _ => false,
        };
        if waits {
            self.tell(FirstUse::Listens);
        }
    }

    fn names_another(&self, key: Key, request: &Request) -> bool {
        let Some(socket) = self.table.get(key) else { return false };
        let Ok(Name::At(named)) = request.name(&self.notifier, 1, 2, socket.domain) else {
            return false;
        };
        let to = self.destination(named).ip();
        let ours = || self.network.stack.addresses().iter().any(|(address, _)| *address == to);
        !to.is_unspecified() && !to.is_loopback() && !ours()
    }

    fn tell(&mut self, first_use: FirstUse) {
        if let Some(tell) = self.options.first_use.take() {
            tell(first_use);
        }
    }
}
