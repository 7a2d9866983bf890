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

use super::header::Layout;
use crate::application::SERVER;

/// A TUN or TAP whose frames are read and written raw.
pub(super) struct Device {
    tun: Tun,
    layout: Layout,
    spins: bool,
    /// Reading waits by itself.
    blocks: bool,
}

impl Device {
    pub(super) fn new(tun: Tun, spins: bool) -> io::Result<Self> {
        let capabilities = tun.capabilities();
        let ethernet = match capabilities.medium {
            Medium::Ip => None,
            Medium::Ethernet(address) => Some(address),
        };
        let layout = Layout { offload: capabilities.segmentation, ethernet };
        Ok(Self { tun, layout, spins, blocks: false })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Reads a frame if there is one; its length with all that is before the packet.
    pub(super) fn read(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::io::read(&self.tun, &mut *frame) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the next frame. Who asks no other way sleeps in the read itself.
    pub(super) fn wait_and_read(&mut self, frame: &mut [u8]) -> io::Result<usize> {
        if !self.spins && !self.blocks {
            rustix::io::ioctl_fionbio(&self.tun, false)?;
            self.blocks = true;
        }
        loop {
            if let Some(length) = self.read(frame)? {
                return Ok(length);
            }
            std::hint::spin_loop();
        }
    }

    /// Waits until there is a frame, or for `limit`. False: there is none.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        if self.spins {
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

    pub(super) fn write(&self, frame: &[u8]) -> io::Result<()> {
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
