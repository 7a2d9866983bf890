//! Addresses, interfaces and routes, asked of the kernel itself (rtnetlink(7)).

mod local;

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, Nla,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily as SocketFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send,
    socket_with,
};
use wire::ethernet::EthernetAddress;

use crate::packet::no_such;
use crate::sys::interface;

/// `IFLA_TUN_PI` (linux/if_link.h).
const TUN_PACKET_INFORMATION: u16 = 4;

/// A conversation with the kernel about the network namespace that it was opened in.
///
/// # Errors
/// Every request fails with `PermissionDenied` without `CAP_NET_ADMIN` in the namespace, with
/// `NotFound` when the interface does not exist, with `AlreadyExists` when what is to be made is
/// there; the message says what failed and what to do.
#[derive(Debug)]
pub struct Netlink {
    /// A bound `NETLINK_ROUTE` socket.
    socket: OwnedFd,
    /// The number of the last request.
    sequence: u32,
    /// IPv6 addresses that were given and are not known to be the kernel's own yet.
    early: Vec<(String, Ipv6Addr)>,
}

impl Netlink {
    /// Opens a conversation.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(SocketFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0, early: Vec::new() })
    }

    /// The index of an interface.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name.
    pub fn index(&self, name: &str) -> io::Result<u32> {
        interface::index(name).map_err(|error| no_such(name, &error))
    }

    /// The hardware address of an interface; zeros for one that has none, like a TUN.
    ///
    /// # Errors
    /// `NotFound` when there is no such interface.
    pub fn hardware_address(&self, name: &str) -> io::Result<EthernetAddress> {
        let address = interface::hardware_address(name).map_err(|error| no_such(name, &error))?;
        Ok(EthernetAddress(address))
    }

    /// Gives an interface an address in a network of `prefix` bits, and so a route to it. An IPv6
    /// address is of use at once: the kernel does not look for another host that has it
    /// (`IFA_F_NODAD`), for on our interfaces there is but one, and it is us. "At once" is when this
    /// returns, or [`set_up`](Netlink::set_up) of this value for an interface that is down.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `InvalidInput` when the prefix is too long.
    pub fn add_address(&mut self, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix_of(address, prefix)?;
        message.header.scope =
            if address.is_loopback() { AddressScope::Host } else { AddressScope::Universe };
        message.header.index = self.index(name)?;
        message.attributes =
            vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
        if address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|error| explain(&format!("add {address}/{prefix} to {name}"), &error))?;
        let IpAddr::V6(address) = address else { return Ok(()) };
        self.early.push((name.to_owned(), address));
        self.wait_for_early();
        Ok(())
    }

    /// Takes an address from an interface, and the route to its network.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `AddrNotAvailable` when the interface does not have it.
    pub fn remove_address(&mut self, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix_of(address, prefix)?;
        message.header.index = self.index(name)?;
        message.attributes = vec![AddressAttribute::Local(address)];
        self.request(RouteNetlinkMessage::DelAddress(message), 0)
            .map_err(|error| explain(&format!("take {address}/{prefix} from {name}"), &error))
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors).
    pub fn set_up(&mut self, name: &str) -> io::Result<()> {
        let mut message = self.link(name)?;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|error| explain(&format!("bring {name} up"), &error))?;
        self.wait_for_early();
        Ok(())
    }

    /// Sets an interface's MTU in bytes.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `InvalidInput` when the interface does not allow it.
    pub fn set_mtu(&mut self, name: &str, mtu: u16) -> io::Result<()> {
        let mut message = self.link(name)?;
        message.attributes = vec![LinkAttribute::Mtu(mtu.into())];
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|error| explain(&format!("set the MTU of {name} to {mtu}"), &error))
    }

    /// Stops the kernel from giving an interface an IPv6 address by itself, and so from asking
    /// for routers and announcing groups there. Call it before the interface is up.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `Unsupported` in a kernel without IPv6.
    pub fn silence_ipv6(&mut self, name: &str) -> io::Result<()> {
        let mut message = self.link(name)?;
        let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        message.attributes =
            vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])];
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|error| explain(&format!("silence IPv6 on {name}"), &error))
    }

    /// Adds a route to `destination/prefix` through an interface, by way of a gateway if given.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `NetworkUnreachable` when the gateway is not reachable
    /// or the interface down; `InvalidInput` when bits beyond the prefix are set or the families
    /// differ.
    pub fn add_route(
        &mut self,
        destination: IpAddr,
        prefix: u8,
        gateway: Option<IpAddr>,
        name: &str,
    ) -> io::Result<()> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = prefix_of(destination, prefix)?;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        message.header.scope =
            if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
        message.attributes = vec![RouteAttribute::Oif(self.index(name)?)];
        message.attributes.push(RouteAttribute::Destination(route_address(destination)));
        message
            .attributes
            .extend(gateway.map(|gateway| RouteAttribute::Gateway(route_address(gateway))));
        self.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL).map_err(
            |error| explain(&format!("add a route to {destination}/{prefix} by {name}"), &error),
        )
    }

    /// Makes a pair of virtual Ethernet interfaces: what one sends the other receives.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `Unsupported` when the kernel has no veth.
    pub fn create_veth(&mut self, name: &str, peer: &str) -> io::Result<()> {
        let mut other = LinkMessage::default();
        other.attributes = vec![LinkAttribute::IfName(peer.to_owned())];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|error| explain(&format!("make the veth pair {name} and {peer}"), &error))
    }

    /// Makes an interface that carries nothing.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `Unsupported` when the kernel has none.
    pub fn create_dummy(&mut self, name: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
        ];
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|error| explain(&format!("make the interface {name}"), &error))
    }

    /// Moves an interface into another network namespace, where it is down and has no address.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors); `InvalidInput` when the interface is bound to its
    /// namespace, as the loopback is.
    pub fn move_to(&mut self, name: &str, namespace: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = self.link(name)?;
        message.attributes = vec![LinkAttribute::NetNsFd(namespace.as_raw_fd())];
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|error| explain(&format!("move {name} to another namespace"), &error))
    }

    /// Deletes an interface; with one end of a veth pair goes the other.
    ///
    /// # Errors
    /// As [all requests](Netlink#errors).
    pub fn delete(&mut self, name: &str) -> io::Result<()> {
        let message = self.link(name)?;
        self.request(RouteNetlinkMessage::DelLink(message), 0)
            .map_err(|error| explain(&format!("delete {name}"), &error))
    }

    /// A message about the interface `name`.
    fn link(&self, name: &str) -> io::Result<LinkMessage> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(name)?;
        Ok(message)
    }

    /// Whether a TUN or TAP puts packet information before each packet; `None` where the kernel
    /// does not tell. TUNGETIFF cannot: it says "no filter" with the same bit as `IFF_NO_PI`.
    pub(crate) fn has_packet_information(&mut self, name: &str) -> io::Result<Option<bool>> {
        let message = self.link(name)?;
        let answer = self.ask(RouteNetlinkMessage::GetLink(message), 0)?;
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = answer else {
            return Ok(None);
        };
        let facts = link.attributes.iter().filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(facts) => Some(facts),
            _ => None,
        });
        let about_tun = facts.flatten().filter_map(|fact| match fact {
            LinkInfo::Data(InfoData::Tun(facts)) => Some(facts),
            _ => None,
        });
        let value = about_tun.flatten().find(|fact| fact.kind() == TUN_PACKET_INFORMATION);
        Ok(value.map(|fact| {
            let mut bytes = vec![0; fact.value_len()];
            fact.emit_value(&mut bytes);
            bytes.iter().any(|byte| *byte != 0)
        }))
    }

    /// Sends one request and waits for its answer, which the kernel gives before it returns.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, flags).map(|_| ())
    }

    /// Sends a request, and gives its first answer back.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<NetlinkPayload<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        loop {
            let mut answer = vec![0; 16 * 1024];
            let length = match recv(&self.socket, &mut answer[..], RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer[..length])
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                payload => Ok(payload),
            };
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn prefix_of(address: IpAddr, prefix: u8) -> io::Result<u8> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    if prefix <= most {
        return Ok(prefix);
    }
    Err(crate::check::invalid(format!("{address}/{prefix}: a prefix has at most {most} bits")))
}

fn explain(what: &str, error: &io::Error) -> io::Error {
    let (kind, why) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => (
            io::ErrorKind::PermissionDenied,
            ": this needs CAP_NET_ADMIN in this network namespace: run inside `unshare -Urn`, or \
             as root",
        ),
        Some(Errno::EXIST) => (io::ErrorKind::AlreadyExists, ""),
        Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT) => {
            (io::ErrorKind::Unsupported, ": this kernel does not offer it")
        }
        Some(Errno::NETDOWN) => (io::ErrorKind::NetworkDown, ": bring the interface up first"),
        _ => (error.kind(), ""),
    };
    io::Error::new(kind, format!("cannot {what}: {error}{why}"))
}
