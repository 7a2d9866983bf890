//! A packet as a table of its fields, like the article's: offset in IP, offset in TCP, bytes,
//! field, meaning.

use std::io::{self, Write};
use std::net::SocketAddr;

use anstyle::{AnsiColor, Style};
use wire::annotate::{Layer, Row, Start, Verdict, annotate};
use wire::ip::{Outline, Protocol};
use wire::tcp;

use super::Packet;

const HEAD: Style = Style::new().bold();

/// The line above a packet's bytes.
pub(super) fn heading(out: &mut impl Write, number: u64, packet: &Packet) -> io::Result<()> {
    write!(out, "{HEAD}packet {number}{HEAD:#}")?;
    if let Some(time) = packet.time {
        write!(out, "  {}.{:06} s", time.as_secs(), time.subsec_micros())?;
    }
    write!(out, "  {} bytes", packet.bytes.len())?;
    if let Some(original) = packet.original {
        write!(out, " of {original}")?;
    }
    if let Some(summary) = summary(packet) {
        write!(out, "  {HEAD}{summary}{HEAD:#}")?;
    }
    if let Some(comment) = &packet.comment {
        // A capture is foreign text: no control characters to the terminal.
        write!(out, "  {}", comment.replace(char::is_control, " "))?;
    }
    writeln!(out)
}

/// The packet in a line, as tcpdump says it, where it is TCP.
fn summary(packet: &Packet) -> Option<String> {
    let ip = match packet.start {
        Start::Ip => &packet.bytes[..],
        Start::Ethernet => wire::ethernet::Tagged::parse(&packet.bytes).ok()?.1,
    };
    let Outline { source, destination, protocol, start, end, fragment } = Outline::of(ip)?;
    if protocol != Protocol::TCP || fragment.is_some_and(|piece| piece.offset > 0) {
        return None;
    }
    let (header, payload) = tcp::Header::parse(ip.get(start..end.min(ip.len()))?).ok()?;
    let from = SocketAddr::new(source, header.source_port);
    let to = SocketAddr::new(destination, header.destination_port);
    Some(format!("{from} > {to} {}", flags(&header, payload.len())))
}

fn flags(header: &tcp::Header, length: usize) -> String {
    let names = header.flags.iter_names().map(|(name, _)| name).collect::<Vec<_>>().join(",");
    let names = if names.is_empty() { "no flags".to_owned() } else { names };
    if length > 0 { format!("{names}, {length} bytes of data") } else { names }
}

/// The table of every field.
pub(super) fn print(out: &mut impl Write, packet: &Packet) -> io::Result<()> {
    let rows = annotate(&packet.bytes, packet.start);
    let is_ip = |row: &&Row| matches!(row.layer, Layer::Ipv4 | Layer::Ipv6);
    let ip_start = rows.iter().find(is_ip).map(|row| row.layer_start);
    let transport = rows
        .iter()
        .find(|row| is_transport(row.layer))
        .map_or_else(String::new, |row| row.layer.to_string());
    let raw_width = rows.iter().map(|row| row.raw.chars().count()).max().unwrap_or(0).clamp(8, 24);
    let name_width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let with_frame = packet.start == Start::Ethernet;
    if with_frame {
        write!(out, "{HEAD}{:<9}{HEAD:#}", "frame")?;
    }
    writeln!(
        out,
        "{HEAD}{:<9}{transport:<9}{:<raw_width$}  {:<name_width$}  meaning{HEAD:#}",
        "IP", "bytes", "field"
    )?;
    let mut section = None;
    for row in &rows {
        let this = (row.layer, row.quoted, row.layer_start);
        if section.is_some_and(|section| section != this) {
            writeln!(out)?;
        }
        section = Some(this);
        if with_frame {
            write!(out, "{:<9}", offset(row.packet_bit_offset()))?;
        }
        let style = style(row.verdict);
        let name = if row.quoted { format!("quoted {}", row.name) } else { row.name.to_owned() };
        writeln!(
            out,
            "{:<9}{:<9}{:<raw_width$}  {name:<name_width$}  {style}{}{style:#}",
            ip_offset(row, ip_start),
            transport_offset(row),
            row.raw,
            row.meaning,
        )?;
    }
    Ok(())
}

/// Where a field is, counted from the first byte of the IP header.
fn ip_offset(row: &Row, ip_start: Option<usize>) -> String {
    let from = ip_start.unwrap_or(0) * 8;
    match row.layer {
        Layer::Ethernet | Layer::Arp => String::new(),
        _ => row.packet_bit_offset().checked_sub(from).map_or_else(String::new, offset),
    }
}

/// Where a field is, counted from the first byte of its own header above IP.
fn transport_offset(row: &Row) -> String {
    match row.layer {
        Layer::Arp | Layer::Ipv6Extension | Layer::Dhcpv4 | Layer::Dhcpv6 => offset(row.bit_offset),
        layer if is_transport(layer) => offset(row.bit_offset),
        _ => String::new(),
    }
}

/// Whether a layer gives the column of its offsets its name.
const fn is_transport(layer: Layer) -> bool {
    matches!(layer, Layer::Tcp | Layer::Udp | Layer::Icmpv4 | Layer::Icmpv6 | Layer::Igmp)
}

/// Bytes, and eighths of one: `6+3/8`.
fn offset(bits: usize) -> String {
    match bits % 8 {
        0 => format!("{}", bits / 8),
        eighths => format!("{}+{eighths}/8", bits / 8),
    }
}

const fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Plain => Style::new(),
        Verdict::Right => AnsiColor::Green.on_default(),
        Verdict::Partial => AnsiColor::Yellow.on_default(),
        Verdict::Wrong | Verdict::Malformed => AnsiColor::Red.on_default().bold(),
    }
}
