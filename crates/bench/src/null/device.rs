//! The device, one system call a frame: virtio header, Ethernet header, packet, all in one buffer.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use link::{Link, Tun};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wire::ethernet::{self, EtherType, EthernetAddress};
use wire::frame::Medium;
use wire::{arp, vnet};

use super::Access;
use super::header::Layout;
use super::ring::Ring;
use crate::application::{SERVER, cargo};
use crate::row::Family;

/// Nothing is due, whatever the time.
const LIMIT: Duration = Duration::from_secs(1);

/// A TUN or TAP whose frames are read and written raw.
pub(super) struct Device {
    tun: Tun,
    layout: Layout,
    access: Access,
    /// The frame that was read last, by calls.
    frame: Vec<u8>,
    /// How long it is.
    length: usize,
    /// Instead of both.
    ring: Option<Ring>,
    /// Reading waits by itself.
    blocks: bool,
}

impl Device {
    pub(super) fn new(tun: Tun, family: Family, access: Access) -> io::Result<Self> {
        let capabilities = tun.capabilities();
        let ethernet = match capabilities.medium {
            Medium::Ip => None,
            Medium::Ethernet(address) => Some(address),
        };
        let layout = Layout { family, offload: capabilities.segmentation, ethernet };
        let longest = layout.before_payload() + (1 << 16);
        let ring = match access {
            Access::Ring => Some(Ring::new(longest, layout.before_payload(), &cargo(1 << 16))?),
            Access::Calls | Access::Spin => None,
        };
        let frame = vec![0; longest];
        Ok(Self { tun, layout, access, frame, length: 0, ring, blocks: false })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// The frame that was read last, with all that is before the packet.
    pub(super) fn frame(&self) -> &[u8] {
        self.ring.as_ref().map_or(&self.frame[..self.length], Ring::frame)
    }

    /// Reads a frame if there is one.
    pub(super) fn next(&mut self) -> io::Result<bool> {
        if let Some(ring) = &mut self.ring {
            return ring.next(&self.tun);
        }
        loop {
            match rustix::io::read(&self.tun, &mut self.frame[..]) {
                Ok(length) => {
                    self.length = length;
                    return Ok(true);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the next frame. Who asks no other way sleeps in the read itself.
    pub(super) fn wait_for_next(&mut self) -> io::Result<()> {
        if self.access == Access::Calls && !self.blocks {
            rustix::io::ioctl_fionbio(&self.tun, false)?;
            self.blocks = true;
        }
        while !self.next()? {
            self.wait(LIMIT)?;
        }
        Ok(())
    }

    /// Waits until there is a frame, or for `limit`. False: there is none.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        if self.access == Access::Spin {
            std::hint::spin_loop();
            return Ok(true);
        }
        let device = self.tun.as_fd();
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(device, PollFlags::IN)], Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it keeps the payload that all segments have.
    pub(super) fn holds_payload(&self) -> bool {
        self.ring.is_some()
    }

    /// Keeps these bytes as the payload of all segments, if it keeps any.
    pub(super) fn set_payload(&mut self, payload: &[u8]) {
        let header = self.layout.before_payload();
        self.ring.iter_mut().for_each(|ring| ring.set_payload(header, payload));
    }

    /// Writes a header and so much of the payload that it keeps.
    pub(super) fn write_held(&mut self, header: &[u8], payload: usize) -> io::Result<()> {
        self.ring.iter_mut().try_for_each(|ring| ring.write(&self.tun, header, payload))
    }

    pub(super) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        if let Some(ring) = &mut self.ring {
            return ring.write(&self.tun, frame, 0);
        }
        written(rustix::io::write(&self.tun, frame), frame.len())
    }

    /// The same with the payload elsewhere.
    pub(super) fn write_with(&self, head: &[u8], payload: &[u8]) -> io::Result<()> {
        let slices = [io::IoSlice::new(head), io::IoSlice::new(payload)];
        written(rustix::io::writev(&self.tun, &slices), head.len() + payload.len())
    }

    /// The answer to an ARP request for our address, if the frame is one.
    pub(super) fn answer_arp(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let own = self.layout.ethernet?;
        let before = if self.layout.offload { vnet::HEADER_LEN } else { 0 };
        let view = ethernet::View::new(frame.get(before..)?)?;
        let request = arp::Packet::parse(view.payload()).ok()?;
        if view.ethertype() != EtherType::ARP || request.target_protocol != SERVER {
            return None;
        }
        let reply = arp::Packet {
            operation: arp::Operation::REPLY,
            sender_hardware: own,
            sender_protocol: SERVER,
            target_hardware: request.sender_hardware,
            target_protocol: request.sender_protocol,
        };
        let start = before + Layout::ETHERNET;
        let mut bytes = vec![0; start + reply.encoded_len()];
        let destination: EthernetAddress = request.sender_hardware;
        let header = ethernet::Header { destination, source: own, ethertype: EtherType::ARP };
        header.emit(&mut bytes[before..]);
        reply.emit(&mut bytes[start..]);
        Some(bytes)
    }
}

fn written(outcome: Result<usize, Errno>, length: usize) -> io::Result<()> {
    if outcome? == length { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
