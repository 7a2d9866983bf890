//! What a stack does with each byte between the device and the program.

use wire::checksum;

/// What is done with each byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Touch {
    /// Nothing.
    Nothing,
    /// It is copied once, through 256 KiB that stay in the cache.
    Copy,
    /// It is copied once, through 64 MiB.
    Ring,
    /// It is copied once, through 64 MiB, and summed there.
    Sum,
}

impl Touch {
    fn ring_len(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Copy => 256 << 10,
            Self::Ring | Self::Sum => 64 << 20,
        }
    }
}

/// A buffer between the device and the program, as a stack would have one.
pub(super) struct Buffer {
    touch: Touch,
    ring: Vec<u8>,
    /// Where the next bytes go.
    at: usize,
}

impl Buffer {
    pub(super) fn new(touch: Touch) -> Self {
        // Not zeros, whose pages would not be there before they are written to.
        Self { touch, ring: vec![1; touch.ring_len()], at: 0 }
    }

    /// Takes a piece through, and gives its place in the ring: `None` if it is not touched.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if self.touch == Touch::Nothing {
            return None;
        }
        if self.at + bytes.len() > self.ring.len() {
            self.at = 0;
        }
        let place = &mut self.ring[self.at..self.at + bytes.len()];
        place.copy_from_slice(bytes);
        self.at += bytes.len();
        if self.touch == Touch::Sum {
            std::hint::black_box(checksum::sum(place));
        }
        Some(std::hint::black_box(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_through_whole_also_at_the_end_of_the_ring() {
        for touch in [Touch::Copy, Touch::Ring, Touch::Sum] {
            let mut buffer = Buffer::new(touch);
            for round in 0..=u8::MAX {
                let piece = vec![round; 60_000];
                assert_eq!(buffer.pass(&piece), Some(&piece[..]));
            }
        }
        assert_eq!(Buffer::new(Touch::Nothing).pass(b"x"), None);
    }
}
