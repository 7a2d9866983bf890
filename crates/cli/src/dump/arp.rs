//! The one answer that a dump gives: without it the kernel would never send more than ARP.

use wire::arp::{Operation, Packet};
use wire::ethernet::{EtherType, HEADER_LEN, Header};
use wire::frame::{Capabilities, Medium};

/// The answer to an ARP request, whoever is asked for: here we are (RFC 826). `None` for any other
/// frame, and for a host that probes whether its own address is free (RFC 5227).
pub(super) fn answer(frame: &[u8], capabilities: &Capabilities) -> Option<Vec<u8>> {
    let Medium::Ethernet(ours) = capabilities.medium else { return None };
    let (header, payload) = Header::parse(frame).ok()?;
    if header.ethertype != EtherType::ARP {
        return None;
    }
    let request = Packet::parse(payload).ok()?;
    let probes = request.sender_protocol.is_unspecified()
        || request.sender_protocol == request.target_protocol;
    if request.operation != Operation::REQUEST || probes {
        return None;
    }
    let header = Header { destination: header.source, source: ours, ethertype: EtherType::ARP };
    let reply = Packet {
        operation: Operation::REPLY,
        sender_hardware: ours,
        sender_protocol: request.target_protocol,
        target_hardware: request.sender_hardware,
        target_protocol: request.sender_protocol,
    };
    let mut bytes = vec![0; header.encoded_len() + reply.encoded_len()];
    header.emit(&mut bytes);
    reply.emit(&mut bytes[HEADER_LEN..]);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ethernet::EthernetAddress;

    #[test]
    fn requests_are_answered_and_nothing_else() {
        let medium = Medium::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 9]));
        let tap = Capabilities { medium, mtu: 1500, checksum: false, segmentation: false };
        let asker = EthernetAddress([2, 0, 0, 0, 0, 1]);
        let request = |sender: [u8; 4]| {
            let header = Header {
                destination: EthernetAddress::BROADCAST,
                source: asker,
                ethertype: EtherType::ARP,
            };
            let packet = Packet {
                operation: Operation::REQUEST,
                sender_hardware: asker,
                sender_protocol: sender.into(),
                target_hardware: EthernetAddress::UNSPECIFIED,
                target_protocol: [11, 0, 0, 2].into(),
            };
            let mut bytes = vec![0; 42];
            header.emit(&mut bytes);
            packet.emit(&mut bytes[HEADER_LEN..]);
            bytes
        };
        let reply = answer(&request([11, 0, 0, 1]), &tap).unwrap();
        let (header, payload) = Header::parse(&reply).unwrap();
        assert_eq!(header.destination, asker);
        let reply = Packet::parse(payload).unwrap();
        assert_eq!(reply.operation, Operation::REPLY);
        assert_eq!(reply.sender_protocol.octets(), [11, 0, 0, 2]);
        assert_eq!(reply.sender_hardware, EthernetAddress([2, 0, 0, 0, 0, 9]));
        assert!(answer(&request([0, 0, 0, 0]), &tap).is_none());
        assert!(answer(&request([11, 0, 0, 2]), &tap).is_none());
        assert!(answer(&[0; 60], &tap).is_none());
        let tun = Capabilities { medium: Medium::Ip, ..tap };
        assert!(answer(&request([11, 0, 0, 1]), &tun).is_none());
    }
}
