//! What links around another link have in common.

/// The methods of [`Link`](crate::Link) that move no frames, as the link inside has them; a wrapper writes
/// `receive` and `send` itself.
macro_rules! all_but_frames {
    ($this:ident => $inside:expr) => {
        fn capabilities(&$this) -> wire::frame::Capabilities {
            $inside.capabilities()
        }

        fn next_deadline(&$this) -> Option<wire::time::Instant> {
            $inside.next_deadline()
        }

        fn descriptor(&$this) -> Option<std::os::fd::BorrowedFd<'_>> {
            $inside.descriptor()
        }

        fn set_batching(&mut $this, on: bool) {
            $inside.set_batching(on);
        }

        fn batching(&$this) -> $crate::Batching {
            $inside.batching()
        }

        fn flush(&mut $this, now: wire::time::Instant) -> std::io::Result<()> {
            $inside.flush(now)
        }
    };
}
