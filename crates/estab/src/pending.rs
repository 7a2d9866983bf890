//! A SYN that waits for a decision, as both socket families see it.

use std::io;
use std::sync::Arc;

use stack::{PendingSyn, Refusal, SocketId};

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

    pub(crate) fn refuse(mut self) -> io::Result<()> {
        self.decided = true;
        let refused = self
            .shard
            .shared()
            .call(|engine, now| engine.stack.refuse_pending(now, self.syn.id, Refusal::Reset))?;
        refused.map_err(from_stack)
    }

    pub(crate) fn discard(mut self) -> io::Result<()> {
        self.decided = true;
        let dropped =
            self.shard.shared().call(|engine, now| engine.stack.drop_pending(now, self.syn.id))?;
        dropped.map_err(from_stack)
    }
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
            self.pending.refuse()
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
