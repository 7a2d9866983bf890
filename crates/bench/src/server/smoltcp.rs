//! smoltcp over the same device, with what it can use of the offload: checksums both ways,
//! super-segments both ways.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Result, anyhow};
use link::{Link, Tun};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::phy::{self, Checksum, DeviceCapabilities, PacketMeta};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use wire::frame::{MAX_FRAME, Medium};
use wire::{ipv4, ipv6, tcp, vnet};

use crate::application::{CHUNK, Exchange, PORT, Requests, cargo};
use crate::row::{Row, Work};

/// How many frames are taken before the sockets are looked at.
const INGRESS: usize = 64;
/// How many rounds of sending there are before frames are looked at; each sends one segment of
/// each socket.
const EGRESS: usize = 64;
/// The longest sleep.
const LIMIT: Duration = Duration::from_secs(1);
/// A socket's buffer for bulk, each way: as much as the kernel's own grow to.
const BULK: usize = 4 << 20;
/// The same for requests.
const SMALL: usize = 4 << 10;

/// Serves until the process ends.
pub(super) fn serve(row: &Row, tun: Tun) -> Result<()> {
    let mut device = Device::new(tun, row);
    let hardware = match device.tun.capabilities().medium {
        Medium::Ip => HardwareAddress::Ip,
        Medium::Ethernet(address) => {
            HardwareAddress::Ethernet(smoltcp::wire::EthernetAddress(address.0))
        }
    };
    let mut interface = Interface::new(Config::new(hardware), &mut device, Instant::now());
    let family = row.medium.family;
    interface.update_ip_addrs(|addresses| {
        // The first of several that there is room for.
        let _ = addresses.push(IpCidr::new(family.server().into(), family.prefix()));
    });
    let mut application = Application::new(row)?;
    loop {
        let now = Instant::now();
        let mut busy = false;
        for _ in 0..INGRESS {
            let sockets = &mut application.sockets;
            match interface.poll_ingress_single(now, &mut device, sockets) {
                PollIngressSingleResult::None => break,
                _ => busy = true,
            }
        }
        busy |= application.turn()?;
        for _ in 0..EGRESS {
            match interface.poll_egress(now, &mut device, &mut application.sockets) {
                PollResult::None => break,
                PollResult::SocketStateChanged => busy = true,
            }
        }
        if !busy {
            let delay = interface.poll_delay(Instant::now(), &application.sockets);
            device.wait(delay.map_or(LIMIT, Duration::from).min(LIMIT))?;
        }
    }
}

/// The sockets and what they are for.
struct Application {
    sockets: SocketSet<'static>,
    served: Vec<Served>,
    work: Work,
    exchange: Option<Exchange>,
    chunk: Vec<u8>,
}

struct Served {
    handle: SocketHandle,
    requests: Requests,
}

impl Application {
    fn new(row: &Row) -> Result<Self> {
        let mut sockets = SocketSet::new(Vec::new());
        // Two for each connection, since one that has ended cannot listen at once.
        let served: Result<Vec<Served>> = (0..row.connections * 2)
            .map(|_| {
                let handle = sockets.add(new_socket(row.is_bulk())?);
                Ok(Served { handle, requests: Requests::default() })
            })
            .collect();
        let (work, exchange) = (row.work, row.work.exchange());
        Ok(Self { sockets, served: served?, work, exchange, chunk: cargo(CHUNK) })
    }

    /// Reads and writes what the sockets can; whether it did.
    fn turn(&mut self) -> Result<bool> {
        let mut busy = false;
        for served in &mut self.served {
            let socket = self.sockets.get_mut::<Socket<'_>>(served.handle);
            match (self.work, &self.exchange) {
                (_, Some(exchange)) if socket.can_recv() => {
                    busy = true;
                    let count = receive(socket)?;
                    answer(
                        exchange,
                        socket,
                        served.requests.complete(count, exchange.request.len()),
                    )?;
                }
                (Work::ToUs, None) if socket.can_recv() => busy |= receive(socket)? > 0,
                (Work::FromUs, None) if socket.can_send() => {
                    busy |= socket.send_slice(&self.chunk).map_err(|error| anyhow!("{error}"))? > 0;
                }
                _ => {}
            }
            if socket.state() == State::CloseWait {
                socket.close();
                busy = true;
            }
            if matches!(socket.state(), State::Closed | State::TimeWait) {
                // A new one: nobody else here asks for a port again within the time of TIME-WAIT.
                self.sockets.remove(served.handle);
                served.handle = self.sockets.add(new_socket(self.exchange.is_none())?);
                served.requests = Requests::default();
            }
        }
        Ok(busy)
    }
}

fn new_socket(bulk: bool) -> Result<Socket<'static>> {
    let size = if bulk { BULK } else { SMALL };
    let buffer = || SocketBuffer::new(vec![0; size]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.listen(PORT).map_err(|error| anyhow!("cannot listen: {error}"))?;
    Ok(socket)
}

/// Takes what there is, where it lies.
fn receive(socket: &mut Socket<'_>) -> Result<usize> {
    let mut total = 0;
    // Twice, if the ring goes round.
    while socket.can_recv() {
        total += socket
            .recv(|bytes| (bytes.len(), bytes.len()))
            .map_err(|error| anyhow!("cannot receive: {error}"))?;
    }
    Ok(total)
}

fn answer(exchange: &Exchange, socket: &mut Socket<'_>, count: usize) -> Result<()> {
    for _ in 0..count {
        // An answer is small beside the buffer: it is taken whole.
        socket.send_slice(exchange.reply).map_err(|error| anyhow!("cannot send: {error}"))?;
        if exchange.closes {
            socket.close();
            break;
        }
    }
    Ok(())
}

/// The device as smoltcp wants it: one buffer for each direction, one system call for each frame.
struct Device {
    tun: Tun,
    /// Bytes of virtio header before each frame.
    before: usize,
    capabilities: DeviceCapabilities,
    received: Vec<u8>,
    sent: Vec<u8>,
}

impl Device {
    fn new(tun: Tun, row: &Row) -> Self {
        let ours = tun.capabilities();
        let mut capabilities = DeviceCapabilities::default();
        let (medium, ethernet) = match ours.medium {
            Medium::Ip => (phy::Medium::Ip, 0),
            Medium::Ethernet(_) => (phy::Medium::Ethernet, 14),
        };
        capabilities.medium = medium;
        capabilities.max_transmission_unit = usize::from(row.medium.mtu) + ethernet;
        if ours.checksum {
            capabilities.checksum.tcp = Checksum::None;
        }
        if ours.segmentation {
            // A packet whose length the IP header can hold. Over IPv6 this release drops what is
            // longer than the MTU, so that it must send packet by packet there.
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(usize::from(u16::MAX) + ethernet);
        }
        let before = if ours.checksum { vnet::HEADER_LEN } else { 0 };
        let buffer = || vec![0; before + MAX_FRAME];
        Self { tun, before, capabilities, received: buffer(), sent: buffer() }
    }

    fn wait(&self, limit: Duration) -> io::Result<()> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let device = self.tun.as_fd();
        match poll(&mut [PollFd::from_borrowed_fd(device, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl phy::Device for Device {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }

    fn receive(&mut self, _now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let Self { tun, before, capabilities, received, sent } = self;
        let length = rustix::io::read(&*tun, &mut received[..]).ok()?;
        let frame = received.get(*before..length)?;
        let medium = capabilities.medium;
        Some((
            RxToken(frame),
            TxToken { tun, before: *before, medium, buffer: sent, segment: None },
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        let Self { tun, before, capabilities, sent, .. } = self;
        let medium = capabilities.medium;
        Some(TxToken { tun, before: *before, medium, buffer: sent, segment: None })
    }
}

struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct TxToken<'a> {
    tun: &'a Tun,
    before: usize,
    medium: phy::Medium,
    buffer: &'a mut Vec<u8>,
    /// The payload size of each packet of a super-segment.
    segment: Option<u16>,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let frame = &mut self.buffer[..self.before + length];
        let (head, packet) = frame.split_at_mut(self.before);
        let result = f(packet);
        if !head.is_empty() {
            let ethernet = if self.medium == phy::Medium::Ethernet { 14 } else { 0 };
            head.copy_from_slice(&leave_to_device(packet, ethernet, self.segment).to_bytes());
        }
        // What a full device does not take is lost, as on any other.
        let _ = rustix::io::write(self.tun, &*frame);
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size.map(Into::into);
    }
}

/// Prepares a frame whose checksum and segmentation are the device's work.
fn leave_to_device(frame: &mut [u8], ethernet: usize, segment: Option<u16>) -> vnet::Header {
    let mut header = vnet::Header::default();
    let Some(packet) = frame.get_mut(ethernet..) else { return header };
    let Some((start, source, destination)) = find_tcp(packet) else { return header };
    let Some(transport) = packet.get_mut(start..) else { return header };
    let Some(view) = tcp::View::new(transport) else { return header };
    let length = transport.len() as u32;
    header.hdr_len = (ethernet + start + view.header_len()) as u16;
    let protocol = wire::ip::Protocol::TCP;
    let sum = wire::checksum::pseudo_header(source, destination, protocol, length);
    tcp::store_checksum(transport, sum.partial());
    header.flags = vnet::Flags::NEEDS_CSUM;
    header.csum_start = (ethernet + start) as u16;
    header.csum_offset = tcp::CHECKSUM_OFFSET as u16;
    if let Some(size) = segment {
        header.gso_type = vnet::GsoType::TCPV4;
        header.gso_size = size;
    }
    header
}

/// Where TCP begins in a packet, and from whom to whom it is; `None` for what is not TCP.
fn find_tcp(packet: &[u8]) -> Option<(usize, IpAddr, IpAddr)> {
    if let Some(ip) = ipv4::View::new(packet).filter(|ip| ip.version() == 4) {
        let is_tcp = ip.protocol() == wire::ip::Protocol::TCP;
        return is_tcp.then(|| (ip.header_len(), ip.source().into(), ip.destination().into()));
    }
    let ip = ipv6::View::new(packet).filter(|ip| ip.version() == 6)?;
    // smoltcp puts no extension header before a segment.
    let is_tcp = ip.next_header() == wire::ip::Protocol::TCP;
    is_tcp.then(|| (ipv6::HEADER_LEN, ip.source().into(), ip.destination().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::{CLIENT, CLIENT_V6, SERVER, SERVER_V6};

    #[test]
    fn a_super_segment_is_announced_to_the_device() {
        let segment = tcp::Header { flags: tcp::Flags::ACK, ..tcp::Header::default() };
        let ip = ipv4::Header {
            source: SERVER,
            destination: CLIENT,
            protocol: wire::ip::Protocol::TCP,
            ttl: 64,
            traffic_class: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: 3020,
            options: ipv4::Options::default(),
        };
        for ethernet in [0, 14] {
            let mut frame = vec![0; ethernet + 3040];
            ip.emit(&mut frame[ethernet..]);
            segment.emit(&mut frame[ethernet + 20..]);
            let header = leave_to_device(&mut frame, ethernet, Some(1460));
            assert_eq!((header.gso_type, header.gso_size), (vnet::GsoType::TCPV4, 1460));
            assert_eq!(usize::from(header.hdr_len), ethernet + 40);
            assert_eq!(usize::from(header.csum_start), ethernet + 20);
            assert_eq!(leave_to_device(&mut frame, ethernet, None).gso_type, vnet::GsoType::NONE);
        }
    }

    #[test]
    fn the_checksum_of_a_segment_over_ipv6_is_left_to_the_device() {
        let segment = tcp::Header { flags: tcp::Flags::ACK, ..tcp::Header::default() };
        let ip = ipv6::Header {
            source: SERVER_V6,
            destination: CLIENT_V6,
            next_header: wire::ip::Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            payload_len: 1020,
        };
        let mut packet = vec![0; 1060];
        ip.emit(&mut packet);
        segment.emit(&mut packet[40..]);
        let header = leave_to_device(&mut packet, 0, None);
        assert_eq!((header.flags, header.gso_type), (vnet::Flags::NEEDS_CSUM, vnet::GsoType::NONE));
        assert_eq!((header.hdr_len, header.csum_start), (60, 40));
        let (own, client) = (SERVER_V6.into(), CLIENT_V6.into());
        let sum = wire::checksum::pseudo_header(own, client, wire::ip::Protocol::TCP, 1020);
        assert_eq!(tcp::View::new(&packet[40..]).unwrap().checksum(), sum.partial());
        packet[ipv6::NEXT_HEADER_OFFSET] = wire::ip::Protocol::UDP.0;
        assert_eq!(leave_to_device(&mut packet, 0, None), vnet::Header::default());
    }

    #[test]
    fn what_is_not_tcp_is_left_alone() {
        let mut arp = vec![0; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        let before = arp.clone();
        assert_eq!(leave_to_device(&mut arp, 14, None), vnet::Header::default());
        assert_eq!(arp, before);
    }
}
