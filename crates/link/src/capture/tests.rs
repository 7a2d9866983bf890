use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::pair::{PairConfig, pair};
use crate::split::tests::{super_segment, super_segment_v6};

/// A file that the test can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn frames(&self) -> Vec<CapturedFrame> {
        let bytes = self.0.lock().unwrap().clone();
        read_from(io::Cursor::new(bytes)).unwrap().collect::<io::Result<_>>().unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn both_directions_come_back_with_time_and_reason() {
    let file = Shared::default();
    let (a, mut b) = pair(PairConfig::ip(1500).without_descriptors()).unwrap();
    let epoch = Duration::from_secs(1_700_000_000);
    let options = CaptureOptions { epoch, interface: "tun7".into(), ..CaptureOptions::default() };
    let mut a = Capture::new(a, file.clone(), options).unwrap();
    let meta = TransmitMeta { comment: "an ACK is owed", ..TransmitMeta::default() };
    a.send(Instant::from_nanos(1_000_000_007), b"head", &[b"er", b"!"], &meta).unwrap();
    b.send(Instant::ZERO, b"answer", &[], &TransmitMeta::default()).unwrap();
    let mut frame = FrameBuf::with_capacity(2000);
    a.receive(Instant::from_nanos(2_000_000_009), &mut frame).unwrap().unwrap();
    assert!(a.receive(Instant::from_millis(3000), &mut frame).unwrap().is_none());
    let (_, result) = a.finish();
    result.unwrap();

    let frames = file.frames();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].bytes, b"header!");
    assert_eq!(frames[0].time, Some(epoch + Duration::from_nanos(1_000_000_007)));
    assert_eq!(frames[0].direction, Some(Direction::Outbound));
    assert_eq!(frames[0].comment.as_deref(), Some("an ACK is owed"));
    assert_eq!(frames[0].link_type, LinkType::Ip);
    assert_eq!(frames[1].bytes, b"answer");
    assert_eq!(frames[1].time, Some(epoch + Duration::from_nanos(2_000_000_009)));
    assert_eq!(frames[1].direction, Some(Direction::Inbound));
    assert_eq!(frames[1].comment, None);
}

#[test]
fn what_was_refused_is_not_in_the_capture() {
    let file = Shared::default();
    let config = PairConfig { capacity: 1, ..PairConfig::ip(1500) };
    let (a, _b) = pair(config.without_descriptors()).unwrap();
    let mut a = Capture::new(a, file.clone(), CaptureOptions::default()).unwrap();
    a.send(Instant::ZERO, b"in", &[], &TransmitMeta::default()).unwrap();
    a.send(Instant::ZERO, b"full", &[], &TransmitMeta::default()).unwrap_err();
    drop(a);
    let frames = file.frames();
    assert_eq!(frames.iter().map(|frame| &frame.bytes[..]).collect::<Vec<_>>(), [b"in"]);
}

#[test]
fn partial_checksums_are_completed_in_the_capture_only() {
    let v4 = super_segment(40, 1000, 3500, 0x18);
    let v6 = super_segment_v6(1000, 3500, 0x18);
    let cases = [(&v4, 20, false, 1), (&v4, 20, true, 4), (&v6, 40, false, 1), (&v6, 40, true, 4)];
    for ((whole, size), start, split, expected) in cases {
        let file = Shared::default();
        let (a, mut b) = pair(PairConfig::ip(1500).without_descriptors()).unwrap();
        let options = CaptureOptions { split, ..CaptureOptions::default() };
        let mut a = Capture::new(a, file.clone(), options).unwrap();
        let meta = TransmitMeta {
            checksum: TransmitChecksum::Partial { start, offset: 16 },
            segment_size: Some(*size),
            comment: "",
        };
        let (header, payload) = whole.split_at(usize::from(start) + 20);
        a.send(Instant::ZERO, header, &[payload], &meta).unwrap();
        let mut frame = FrameBuf::with_capacity(70_000);
        b.receive(Instant::ZERO, &mut frame).unwrap().unwrap();
        assert_eq!(frame[..], whole[..], "the frame itself is as it was");
        drop(a);
        let frames = file.frames();
        assert_eq!(frames.len(), expected);
        for frame in frames {
            let layout = split::locate(Medium::Ip, &frame.bytes).unwrap();
            let segment = &frame.bytes[layout.transport..];
            let (source, destination) = (layout.source, layout.destination);
            assert!(wire::tcp::is_checksum_valid(source, destination, segment));
        }
    }
}

#[test]
fn a_full_disk_ends_the_capture_and_not_the_traffic() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let config = PairConfig { capacity: 100, ..PairConfig::ip(1500) };
    let (a, mut b) = pair(config.without_descriptors()).unwrap();
    let mut a = Capture::new(a, Full(20_000), CaptureOptions::default()).unwrap();
    for _ in 0..50 {
        a.send(Instant::ZERO, &[1; 1000], &[], &TransmitMeta::default()).unwrap();
    }
    assert_eq!(a.error().unwrap().kind(), io::ErrorKind::StorageFull);
    assert!(a.missed() > 20, "{}", a.missed());
    assert_eq!(a.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
    let mut frame = FrameBuf::with_capacity(2000);
    let arrived = std::iter::from_fn(|| b.receive(Instant::ZERO, &mut frame).unwrap()).count();
    assert_eq!(arrived, 50);
}

#[test]
fn pcap_in_micro_and_nanoseconds_reads_right() {
    // magic, version 2.4, zone, accuracy, snap length, link type; then one packet of 3 bytes.
    for (magic, fraction, nanos) in [(0xa1b2_c3d4u32, 5u32, 5_000), (0xa1b2_3c4d, 5, 5)] {
        for big in [false, true] {
            let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
            let half = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
            let mut file = Vec::new();
            file.extend(word(magic));
            file.extend(half(2));
            file.extend(half(4));
            for value in [0, 0, 65535, 1, 7, fraction, 3, 60] {
                file.extend(word(value));
            }
            file.extend(b"abc");
            let frames: Vec<_> = read_from(io::Cursor::new(file)).unwrap().collect();
            let frame = frames[0].as_ref().unwrap();
            assert_eq!(frames.len(), 1);
            assert_eq!(frame.time, Some(Duration::new(7, nanos)));
            assert_eq!((&frame.bytes[..], frame.original_length), (&b"abc"[..], 60));
            assert_eq!(frame.link_type, LinkType::Ethernet);
        }
    }
}

#[test]
fn what_is_no_capture_says_so() {
    for bytes in [&b""[..], b"abc", b"no capture at all, but long enough to be one"] {
        let error = read_from(io::Cursor::new(bytes.to_vec())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

proptest! {
    /// The reader neither panics nor runs on for ever on a damaged file.
    #[test]
    fn a_damaged_file_ends(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
                           cut in any::<prop::sample::Index>()) {
        let file = Shared::default();
        let mut writer =
            CaptureFile::new(file.clone(), Medium::Ip, CaptureOptions::default()).unwrap();
        for length in [0, 1, 40, 1500] {
            writer.write(Instant::ZERO, Direction::Inbound, &vec![0x45; length], "why");
        }
        writer.flush().unwrap();
        let mut bytes = file.0.lock().unwrap().clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(frames) = read_from(io::Cursor::new(bytes)) {
            prop_assert!(frames.take(100).count() < 100);
        }
    }
}

#[test]
fn all_queues_of_a_device_are_in_one_file() {
    let file = Shared::default();
    let (first, _one) = pair(PairConfig::ip(1500).without_descriptors()).unwrap();
    let (second, mut two) = pair(PairConfig::ip(1500).without_descriptors()).unwrap();
    let queues = [first, second];
    let mut queues = QueueCapture::all(queues, file.clone(), CaptureOptions::default()).unwrap();
    queues[1].send(Instant::from_nanos(1), b"a", &[b"b"], &TransmitMeta::default()).unwrap();
    queues[0].send(Instant::from_nanos(2), b"c", &[], &TransmitMeta::default()).unwrap();
    two.send(Instant::ZERO, b"d", &[], &TransmitMeta::default()).unwrap();
    let mut frame = FrameBuf::with_capacity(2000);
    queues[1].receive(Instant::from_nanos(3), &mut frame).unwrap().unwrap();
    drop(queues.remove(0));
    assert!(file.0.lock().unwrap().is_empty(), "one queue holds the buffer still");
    drop(queues);
    let bytes: Vec<_> = file.frames().into_iter().map(|frame| frame.bytes).collect();
    assert_eq!(bytes, [&b"ab"[..], b"c", b"d"]);
    let none = QueueCapture::<crate::PairEnd>::all([], file, CaptureOptions::default());
    assert_eq!(none.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
