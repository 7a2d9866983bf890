//! One file for all queues of a device.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::frame::{FrameBuf, ReceiveMeta, TransmitMeta};
use wire::time::Instant;

use super::{CaptureFile, CaptureOptions};
use crate::Link;

/// A queue of a device whose queues write what passes them into one file.
///
/// Each block is written whole. Blocks of two queues may stand in another order than their times
/// say, by as much as the threads that serve them are apart.
#[derive(Debug)]
pub struct QueueCapture<L> {
    inner: L,
    file: Arc<Mutex<CaptureFile>>,
}

impl<L: Link> QueueCapture<L> {
    /// Captures what passes all of `queues` into `writer`, which is buffered here. What is buffered
    /// is written when the last of the queues is dropped.
    ///
    /// # Errors
    /// `InvalidInput` without a queue; when the file's first blocks cannot be written.
    pub fn all(
        queues: impl IntoIterator<Item = L>,
        writer: impl Write + Send + 'static,
        options: CaptureOptions,
    ) -> io::Result<Vec<Self>> {
        let queues: Vec<L> = queues.into_iter().collect();
        let medium = match queues.first() {
            Some(queue) => queue.capabilities().medium,
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no queue to capture")),
        };
        let file = Arc::new(Mutex::new(CaptureFile::new(writer, medium, options)?));
        Ok(queues.into_iter().map(|inner| Self { inner, file: Arc::clone(&file) }).collect())
    }

    /// A panic elsewhere leaves at most a block that is not whole, which ends the capture.
    fn file(&self) -> MutexGuard<'_, CaptureFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Link> Link for QueueCapture<L> {
    all_but_frames!(self => self.inner);

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let received = self.inner.receive(now, frame)?;
        if let Some(meta) = &received {
            self.file().received(now, frame, meta);
        }
        Ok(received)
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        self.inner.send(now, header, payload, meta)?;
        self.file().sent(now, header, payload, meta);
        Ok(())
    }
}
