//! A device with several queues that steers as badly as it can.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use estab::link::{Link, PairConfig, PairEnd, pair};
use estab::wire::frame::{Capabilities, FrameBuf, ReceiveMeta, TransmitMeta};
use estab::wire::time::Instant;
use rustix::event::epoll;

/// The other end of all queues: each frame goes to any of them, without regard to its flow. What a
/// queue has no room for is lost.
pub(crate) struct Spread {
    ends: Vec<PairEnd>,
    epoll: OwnedFd,
    state: u64,
}

/// A device with `count` queues for one stack, and its other end for another.
pub(crate) fn spread(count: usize, seed: u64) -> (Vec<PairEnd>, Spread) {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
    let (mut queues, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (queue, end) = pair(PairConfig::ip(1500)).expect("a pair");
        let descriptor = end.descriptor().expect("a descriptor");
        let data = epoll::EventData::new_u64(0);
        epoll::add(&epoll, descriptor, data, epoll::EventFlags::IN).expect("a new descriptor");
        queues.push(queue);
        ends.push(end);
    }
    (queues, Spread { ends, epoll, state: seed | 1 })
}

impl Link for Spread {
    fn capabilities(&self) -> Capabilities {
        self.ends[0].capabilities()
    }

    fn receive(&mut self, now: Instant, frame: &mut FrameBuf) -> io::Result<Option<ReceiveMeta>> {
        let mut gone = 0;
        for end in &mut self.ends {
            match end.receive(now, frame) {
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => gone += 1,
                other => return other,
            }
        }
        if gone == self.ends.len() { Err(ErrorKind::BrokenPipe.into()) } else { Ok(None) }
    }

    fn send(
        &mut self,
        now: Instant,
        header: &[u8],
        payload: &[&[u8]],
        meta: &TransmitMeta,
    ) -> io::Result<()> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let any = (self.state % self.ends.len() as u64) as usize;
        match self.ends[any].send(now, header, payload, meta) {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }
}
