//! A link that loses exactly one packet: the first with data that the stack sends.

use std::io;
use std::os::fd::BorrowedFd;

use link::Link;
use wire::frame::{Capabilities, FrameBuf, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

/// Wraps a link, and loses one packet on it.
pub(crate) struct LoseOne {
    inner: Box<dyn Link>,
    lost: bool,
}

impl LoseOne {
    pub(crate) fn new(inner: Box<dyn Link>) -> Self {
        Self { inner, lost: false }
    }
}

impl Link for LoseOne {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        self.inner.receive(now, frame)
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        if !self.lost && payload.iter().any(|slice| !slice.is_empty()) {
            self.lost = true;
            return Ok(());
        }
        self.inner.send(now, header, payload, meta)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.inner.next_deadline()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}
