//! `estab dump` on files: the article's packet, captures, and what is wrong with others.

use std::io::Write;
use std::net::Ipv6Addr;
use std::process::{Command, Output, Stdio};

use wire::ip::Protocol;
use wire::{ipv6, tcp};

fn dump(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_estab"))
        .arg("dump")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// It failed with status 2, said one line, and printed nothing else.
fn assert_refused(output: &Output, what: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{what}: {error}");
    assert_eq!(error.lines().count(), 1, "{what}: {error}");
    assert!(error.starts_with("estab: "), "{what}: {error}");
}

#[test]
fn the_syn_of_the_article() {
    let output = dump(&["tests/data/syn.txt"], b"");
    assert!(output.status.success());
    insta::assert_snapshot!(text(&output.stdout));
}

#[test]
fn the_same_from_standard_input_and_from_a_capture() {
    let hex = std::fs::read("tests/data/syn.txt").unwrap();
    let from_hex = dump(&["-"], &hex);
    let bytes: Vec<u8> = text(&hex)
        .lines()
        .flat_map(|line| line[10..58].split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    assert_eq!(bytes.len(), 60);
    let from_capture = dump(&["-"], &pcap(&bytes));
    let table = |output: &Output| text(&output.stdout).split_once('\n').unwrap().1.to_owned();
    assert_eq!(table(&from_hex), table(&from_capture));
    assert!(text(&from_capture.stdout).starts_with("packet 1  1.000002 s  60 bytes"));
}

/// A pcap file with one raw IP packet at 1.000002 s.
fn pcap(packet: &[u8]) -> Vec<u8> {
    pcap_of(101, packet)
}

/// A pcap file of a link type with one packet.
fn pcap_of(link_type: u32, packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).unwrap();
    let words = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, link_type, 1, 2, length, length];
    let mut file: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    file.extend(packet);
    file
}

#[test]
fn ipv6_from_every_kind_of_capture() {
    let addresses = ["fd77::1", "fd77::2"].map(|text| text.parse::<Ipv6Addr>().unwrap());
    let header = ipv6::Header {
        source: addresses[0],
        destination: addresses[1],
        next_header: Protocol::DESTINATION_OPTIONS,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
        payload_len: 28,
    };
    let segment = tcp::Header {
        source_port: 40_000,
        destination_port: 80,
        sequence: 1,
        acknowledgment: 0,
        flags: tcp::Flags::SYN,
        window: 64_800,
        urgent: 0,
        options: tcp::Options::NONE,
    };
    let mut packet = vec![0; 68];
    header.emit(&mut packet);
    packet[40..48].copy_from_slice(&[6, 0, 1, 4, 0, 0, 0, 0]);
    segment.emit(&mut packet[48..]);
    tcp::fill_checksum(addresses[0].into(), addresses[1].into(), &mut packet[48..]);
    let frame = [&[2; 12][..], &[0x81, 0, 0, 7, 0x86, 0xdd], &packet].concat();
    for (link_type, bytes) in [(101, &packet), (229, &packet), (1, &frame)] {
        let output = dump(&["-"], &pcap_of(link_type, bytes));
        let shown = text(&output.stdout);
        let first = shown.lines().next().unwrap();
        assert!(first.ends_with("[fd77::1]:40000 > [fd77::2]:80 SYN"), "{shown}");
        for meaning in ["behind destination options: 6: TCP", "64 hops", "right"] {
            assert!(shown.lines().any(|line| line.ends_with(meaning)), "{meaning}: {shown}");
        }
    }
}

#[test]
fn a_checksum_that_is_wrong_says_what_it_should_be() {
    let hex =
        std::fs::read_to_string("tests/data/syn.txt").unwrap().replace("fa f0 67", "fa f1 67");
    let output = dump(&["-"], hex.as_bytes());
    assert!(output.status.success());
    let shown = text(&output.stdout);
    assert!(
        shown.lines().any(|line| line.contains("checksum") && line.contains("wrong")),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_read_is_refused_in_one_line() {
    assert_refused(&dump(&["/no/such/file"], b""), "no file");
    assert_refused(&dump(&["-"], b""), "nothing");
    assert_refused(&dump(&["-"], b"45 00 zz\n"), "no hex");
    assert_refused(&dump(&["-"], &[0xff, 0xfe, 0x00]), "binary");
    assert_refused(&dump(&["-"], &[0xd4, 0xc3, 0xb2, 0xa1, 1]), "a cut pcap");
    assert_refused(&dump(&["-"], &[0x0a, 0x0d, 0x0d, 0x0a, 0xff, 0xff]), "a cut pcapng");
    assert_refused(&dump(&[], b""), "no file named");
    assert_refused(&dump(&["a", "--tun", "b"], b""), "both");
    assert_refused(&dump(&["--tun", "x", "--cidr", "11.0.0.1"], b""), "no prefix");
}

#[test]
fn any_bytes_are_dumped_or_refused_without_a_panic() {
    // A small generator of our own: the same files in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..40_u64 {
        let mut file = pcap(&[]);
        if round % 2 == 0 {
            file = vec![0x0a, 0x0d, 0x0d, 0x0a, 0, 0, 0, 28, 0x1a, 0x2b, 0x3c, 0x4d];
        }
        for _ in 0..random() % 200 {
            file.extend((random() % 300).to_be_bytes());
        }
        let output = dump(&["-"], &file);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let hex = std::fs::read_to_string("tests/data/syn.txt").unwrap().repeat(2000);
    let mut child = Command::new(env!("CARGO_BIN_EXE_estab"))
        .args(["dump", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(hex.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}
