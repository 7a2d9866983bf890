//! `estab dump`: packets as bytes and as a table of their fields.

mod arp;
mod capture_file;
mod hex_text;
mod live;
mod table;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use wire::annotate::Start;

use crate::Output;
use crate::arguments::Dump;

/// How many bytes of a file are read: a capture that is larger is for other tools.
const MOST_BYTES: u64 = 1 << 30;

/// A packet to show.
#[derive(Clone, PartialEq, Debug)]
struct Packet {
    /// When it was seen, where that is known.
    time: Option<Duration>,
    /// What its first byte belongs to.
    start: Start,
    /// Its bytes.
    bytes: Vec<u8>,
    /// How long it was on the wire, when the capture cut it.
    original: Option<usize>,
    /// What the capture says about it.
    comment: Option<String>,
}

/// Runs `estab dump`.
pub(crate) fn run(arguments: &Dump) -> anyhow::Result<ExitCode> {
    let Some(file) = &arguments.file else { return live::run(arguments) };
    if !arguments.command.is_empty() {
        bail!("a file needs no COMMAND: leave out what follows `--`, or give --tun");
    }
    let bytes = read(file)?;
    let name =
        if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
    let mut shown = 0;
    let mut out = anstream::stdout().lock();
    let most = arguments.count.unwrap_or(u64::MAX);
    let mut show = |packet: &Packet| -> anyhow::Result<bool> {
        shown += 1;
        print(&mut out, shown, packet).map_err(Output::from)?;
        Ok(shown < most)
    };
    if capture_file::is_capture(&bytes) {
        capture_file::read(bytes, &mut show).with_context(|| name.clone())?;
    } else {
        let text = String::from_utf8(bytes).ok().with_context(|| {
            format!("{name}: neither a capture (pcap, pcapng) nor a hex dump in text")
        })?;
        for bytes in hex_text::parse(&text).with_context(|| name.clone())? {
            let start = if arguments.ethernet { Start::Ethernet } else { guess_start(&bytes) };
            if !show(&Packet { time: None, start, bytes, original: None, comment: None })? {
                break;
            }
        }
    }
    if shown == 0 {
        bail!("{name}: no packet in it");
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MOST_BYTES + 1;
    let read = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    let length = read.with_context(|| format!("{}: cannot read", file.display()))?;
    if u64::try_from(length).unwrap_or(u64::MAX) > MOST_BYTES {
        bail!("{}: more than 1 GiB: cut a part out of it first", file.display());
    }
    Ok(bytes)
}

/// Prints a packet: a line about it, its bytes, its table.
fn print(out: &mut impl Write, number: u64, packet: &Packet) -> io::Result<()> {
    if number > 1 {
        writeln!(out)?;
    }
    table::heading(out, number, packet)?;
    writeln!(out)?;
    hex_dump(out, &packet.bytes)?;
    writeln!(out)?;
    table::print(out, packet)
}

/// Bytes as `hexdump -C` prints them.
fn hex_dump(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for (line, chunk) in bytes.chunks(16).enumerate() {
        write!(out, "{:08x} ", line * 16)?;
        for column in 0..16 {
            if column % 8 == 0 {
                write!(out, " ")?;
            }
            match chunk.get(column) {
                Some(byte) => write!(out, "{byte:02x} ")?,
                None => write!(out, "   ")?,
            }
        }
        let printable = |byte: &u8| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        };
        writeln!(out, " |{}|", chunk.iter().map(printable).collect::<String>())?;
    }
    Ok(())
}

/// Bytes that do not say where they come from: an IPv4 header is recognised by its first byte.
fn guess_start(bytes: &[u8]) -> Start {
    match bytes.first() {
        Some(first) if (0x45..=0x4f).contains(first) || first >> 4 == 6 => Start::Ip,
        _ if bytes.len() < 14 => Start::Ip,
        _ => Start::Ethernet,
    }
}
