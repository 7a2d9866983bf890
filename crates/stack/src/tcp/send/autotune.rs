//! How large a send buffer should be: twice the congestion window.
//!
//! One window is in flight and kept until it is acknowledged; the other waits, so that the next ACK
//! finds data, and the window room to double in the next round trip.

use crate::shared::Shared;
use crate::tcp::connection::Connection;

impl Connection {
    /// How many bytes `write` takes in all: what the program set, or what the path asks for.
    pub(crate) fn send_buffer(&self) -> usize {
        self.options.send_buffer.unwrap_or(self.snd.buffer as usize)
    }

    /// The congestion window may have grown. Not while memory is short.
    pub(crate) fn expand_send_buffer(&mut self, shared: &Shared) {
        if shared.memory.is_short() {
            return;
        }
        let wanted = self.snd.controller.window().saturating_mul(2);
        let most = shared.config.send_buffer.max as u64;
        let wanted = u32::try_from(wanted.min(most)).unwrap_or(u32::MAX);
        self.snd.buffer = self.snd.buffer.max(wanted);
    }
}
