//! The bytes of a stream: each decided by its stream's number and its place.
//!
//! Both ends know them, so that one byte twice, one left out or two in the wrong order is seen at
//! once, by whoever reads and on every segment that leaves.

/// How many bytes are made at a time.
const BLOCK: usize = 32;

/// Fills `into` with the bytes of `stream` from `at` on.
pub fn fill(stream: u64, at: u64, into: &mut [u8]) {
    let (mut at, mut rest) = (at, into);
    while !rest.is_empty() {
        let block = block(stream, at / BLOCK as u64);
        let skip = (at % BLOCK as u64) as usize;
        let count = rest.len().min(BLOCK - skip);
        let (now, later) = rest.split_at_mut(count);
        now.copy_from_slice(&block[skip..skip + count]);
        at += count as u64;
        rest = later;
    }
}

/// Where `bytes` first differ from those of `stream` from `at` on.
#[must_use]
pub fn first_difference(stream: u64, at: u64, bytes: &[u8]) -> Option<u64> {
    let (mut at, mut rest) = (at, bytes);
    while !rest.is_empty() {
        let block = block(stream, at / BLOCK as u64);
        let skip = (at % BLOCK as u64) as usize;
        let count = rest.len().min(BLOCK - skip);
        let (now, later) = rest.split_at(count);
        let expected = &block[skip..skip + count];
        if now != expected {
            let place = now.iter().zip(expected).take_while(|(a, b)| a == b).count();
            return Some(at + place as u64);
        }
        at += count as u64;
        rest = later;
    }
    None
}

/// One block: a hash of its number, stretched.
fn block(stream: u64, number: u64) -> [u8; BLOCK] {
    let mut x = (number ^ (stream << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 32;
    let mut bytes = [0; BLOCK];
    let words =
        [x, x.rotate_left(13) ^ 0x5555, x.rotate_left(29) ^ 0x3333, x.rotate_left(47) ^ 0x0f0f];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let mut whole = [0; 500];
        fill(3, 1000, &mut whole);
        let mut pieces = Vec::new();
        while pieces.len() < 500 {
            let mut piece = vec![0; (pieces.len() % 37 + 1).min(500 - pieces.len())];
            fill(3, 1000 + pieces.len() as u64, &mut piece);
            pieces.extend(piece);
        }
        assert_eq!(whole[..], pieces[..]);
        assert_eq!(first_difference(3, 1000, &whole), None);
    }

    #[test]
    fn what_moved_is_noticed() {
        let mut bytes = [0; 200];
        fill(1, 64, &mut bytes);
        for shift in [1, 2, 4, 32, 48, 536, 1448, 1460, 65_535, 65_536, 1 << 32] {
            assert!(first_difference(1, 64 + shift, &bytes).is_some(), "moved by {shift}");
        }
        assert!(first_difference(2, 64, &bytes).is_some(), "another stream");
        bytes[77] ^= 1;
        assert_eq!(first_difference(1, 64, &bytes), Some(64 + 77));
    }
}
