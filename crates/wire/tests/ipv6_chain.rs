//! The chain of IPv6 extension headers: where it ends, and what is refused with which answer.

use std::net::Ipv6Addr;

use estab_wire::ip::{Outline, Piece, Protocol};
use estab_wire::ipv6::{Chain, ChainMalformed, Fragment, Header, Limits, router_alert_header};

/// Walks the chain in `payload`, whose first header is `first`.
fn walk(first: Protocol, payload: &[u8]) -> Result<Chain, ChainMalformed> {
    let header = Header {
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
        next_header: first,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
    };
    Chain::walk(&header, payload, &Limits::DEFAULT)
}

/// Code, pointer and "even to a group" of the answer to a refused chain.
fn answer(first: Protocol, payload: &[u8]) -> Option<(u8, u32, bool)> {
    let answer = walk(first, payload).unwrap_err().answer()?;
    Some((answer.code.0, answer.pointer, answer.even_to_multicast))
}

fn fragment(next_header: Protocol, offset: u16, more_fragments: bool) -> [u8; 8] {
    Fragment { next_header, offset, more_fragments, identification: 7 }.to_bytes()
}

/// Destination options with `options` in them, before a TCP segment.
fn with_options(options: &[u8]) -> Vec<u8> {
    let units = (options.len() + 2).div_ceil(8) - 1;
    let mut bytes = vec![6, u8::try_from(units).unwrap()];
    bytes.extend(options);
    bytes.resize((units + 1) * 8, 0);
    bytes.extend([0; 20]);
    bytes
}

#[test]
fn without_extensions_the_transport_is_next() {
    let chain = walk(Protocol::TCP, &[0; 20]).unwrap();
    assert_eq!((chain.protocol, chain.start, chain.named_at), (Protocol::TCP, 40, 6));
    assert_eq!((chain.fragment, chain.router_alert), (None, None));
    let chain = walk(Protocol::NO_NEXT_HEADER, &[1, 2, 3]).unwrap();
    assert_eq!((chain.protocol, chain.start), (Protocol::NO_NEXT_HEADER, 40));
    // What nobody here speaks is for the caller to refuse.
    assert_eq!(walk(Protocol(139), &[0; 8]).unwrap().named_at, 6);
}

#[test]
fn all_that_are_known_are_passed() {
    let mut payload = router_alert_header(Protocol::ROUTING, 0).to_vec();
    payload.extend([60, 0, 0, 0, 0, 0, 0, 0]); // routing type 0, nothing left
    payload.extend([51, 0, 1, 4, 0, 0, 0, 0]); // destination options, a PadN
    payload.extend([44, 4, 0, 0]); // authentication, 24 bytes
    payload.extend([0xff; 20]);
    payload.extend(fragment(Protocol::UDP, 0, false));
    payload.extend([0; 8]);
    let chain = walk(Protocol::HOP_BY_HOP, &payload).unwrap();
    assert_eq!((chain.protocol, chain.start), (Protocol::UDP, 40 + 8 * 3 + 24 + 8));
    assert_eq!(chain.named_at, 40 + 8 * 3 + 24);
    assert_eq!(chain.router_alert, Some(0));
    assert_eq!(chain.fragment, None, "an atomic fragment is whole (RFC 6946)");
}

#[test]
fn a_fragment_ends_the_walk() {
    let mut payload = fragment(Protocol::UDP, 1448, true).to_vec();
    payload.extend([0xff; 16]);
    let chain = walk(Protocol::FRAGMENT, &payload).unwrap();
    let placed = chain.fragment.unwrap();
    assert_eq!((placed.header.offset, placed.header.identification), (1448, 7));
    assert_eq!((placed.start, placed.named_at, chain.start), (40, 6, 48));

    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[5] = 24;
    packet[6] = 44;
    packet.extend(&payload);
    let outline = Outline::of(&packet).unwrap();
    assert_eq!(outline.fragment, Some(Piece { offset: 1448, more_fragments: true }));
    assert_eq!((outline.start, outline.end), (48, 64));
}

#[test]
fn rfc8200_4_5_fragments_that_no_packet_can_have() {
    let with = |offset, more, length: usize| {
        let mut payload = fragment(Protocol::UDP, offset, more).to_vec();
        payload.extend(vec![0; length]);
        payload
    };
    assert_eq!(answer(Protocol::FRAGMENT, &with(0, true, 17)), Some((0, 4, false)));
    assert_eq!(answer(Protocol::FRAGMENT, &with(65_528, false, 8)), Some((0, 42, false)));
    assert!(walk(Protocol::FRAGMENT, &with(65_528, false, 7)).is_ok());
    assert_eq!(walk(Protocol::FRAGMENT, &with(8, false, 0)), Err(ChainMalformed::FragmentEmpty));
    // What stands before the fragment header counts, too.
    let mut payload = vec![44, 0, 1, 4, 0, 0, 0, 0];
    payload.extend(with(65_520, false, 8));
    assert_eq!(answer(Protocol::DESTINATION_OPTIONS, &payload), Some((0, 50, false)));
    payload.pop();
    assert!(walk(Protocol::DESTINATION_OPTIONS, &payload).is_ok());
}

#[test]
fn rfc7112_5_a_first_fragment_holds_all_headers() {
    let first = |next, rest: &[u8]| {
        let mut payload = fragment(next, 0, true).to_vec();
        payload.extend(rest);
        walk(Protocol::FRAGMENT, &payload).map(|chain| chain.protocol)
    };
    let incomplete = Err(ChainMalformed::FirstFragmentIncomplete);
    assert_eq!(first(Protocol::TCP, &[0; 16]), incomplete);
    assert_eq!(first(Protocol::TCP, &[0; 24]), Ok(Protocol::TCP));
    assert_eq!(first(Protocol::UDP, &[0; 8]), Ok(Protocol::UDP));
    assert_eq!(first(Protocol::DESTINATION_OPTIONS, &[17, 0, 1, 4, 0, 0, 0, 0]), incomplete);
    assert_eq!(first(Protocol::DESTINATION_OPTIONS, &[17, 9, 1, 4, 0, 0, 0, 0]), incomplete);
    let mut whole = vec![17, 0, 1, 4, 0, 0, 0, 0];
    whole.extend([0; 8]);
    assert_eq!(first(Protocol::DESTINATION_OPTIONS, &whole), Ok(Protocol::DESTINATION_OPTIONS));
    let error = ChainMalformed::FirstFragmentIncomplete.answer().unwrap();
    assert_eq!((error.code.0, error.pointer), (3, 0));
}

#[test]
fn rfc8200_4_2_the_highest_bits_of_an_unknown_option_decide() {
    let first = Protocol::DESTINATION_OPTIONS;
    assert!(walk(first, &with_options(&[0x1e, 2, 0, 0])).is_ok(), "00: skipped");
    assert_eq!(answer(first, &with_options(&[0x5e, 2, 0, 0])), None, "01: discarded");
    assert_eq!(answer(first, &with_options(&[0x9e, 2, 0, 0])), Some((2, 42, true)), "10");
    assert_eq!(answer(first, &with_options(&[1, 1, 0, 0xde, 1, 0])), Some((2, 45, false)), "11");
    // A jumbogram is not spoken.
    let jumbo = [0xc2, 4, 0, 1, 0, 0];
    assert_eq!(answer(Protocol::HOP_BY_HOP, &with_options(&jumbo)), Some((2, 42, false)));
}

#[test]
fn options_that_lie_or_hide_something() {
    let first = Protocol::DESTINATION_OPTIONS;
    assert_eq!(answer(first, &with_options(&[0, 0, 0, 0, 1, 9])), Some((0, 47, false)));
    assert_eq!(answer(first, &with_options(&[0x1e, 3, 0, 0, 0, 1])), Some((0, 48, false)));
    assert_eq!(walk(first, &with_options(&[1, 2, 0, 3])), Err(ChainMalformed::Padding { at: 42 }));
    let long = [1, 6, 0, 0, 0, 0, 0, 0];
    assert_eq!(walk(first, &with_options(&long)), Err(ChainMalformed::Padding { at: 42 }));
    let mut pads = vec![0; 7];
    pads.extend([0x1e, 0, 0, 0, 0, 0, 0]);
    assert!(walk(first, &with_options(&pads)).is_ok(), "seven before and five behind");
    assert_eq!(walk(first, &with_options(&[0; 14])), Err(ChainMalformed::Padding { at: 49 }));
    // A router alert counts in the hop-by-hop header only, and has two bytes.
    let alert = with_options(&[5, 2, 0, 3, 1, 0]);
    assert_eq!(walk(Protocol::HOP_BY_HOP, &alert).unwrap().router_alert, Some(3));
    assert_eq!(walk(first, &alert).unwrap().router_alert, None);
    let odd = with_options(&[5, 3, 0, 0, 0, 0]);
    assert_eq!(answer(Protocol::HOP_BY_HOP, &odd), Some((0, 43, false)));
    assert!(walk(first, &odd).is_ok());
}

#[test]
fn rfc8200_4_3_hop_by_hop_comes_first() {
    let payload = [0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(answer(Protocol::DESTINATION_OPTIONS, &payload), Some((1, 40, false)));
    assert_eq!(answer(Protocol::HOP_BY_HOP, &payload), Some((1, 40, false)));
}

#[test]
fn rfc8200_4_4_a_routing_header_with_segments_left() {
    let mut payload = [0; 28];
    payload[..4].copy_from_slice(&[6, 0, 4, 1]);
    assert_eq!(answer(Protocol::ROUTING, &payload), Some((0, 42, false)));
    payload[3] = 0;
    assert_eq!(walk(Protocol::ROUTING, &payload).unwrap().protocol, Protocol::TCP);
}

#[test]
fn headers_beyond_the_packet() {
    for (first, payload) in [
        (Protocol::HOP_BY_HOP, &[][..]),
        (Protocol::DESTINATION_OPTIONS, &[6]),
        (Protocol::ROUTING, &[6, 1, 0, 0, 0, 0, 0, 0]),
        (Protocol::FRAGMENT, &[6, 0, 0, 0, 0, 0, 0]),
        (Protocol::AUTHENTICATION, &[6, 1, 0, 0, 0, 0, 0, 0]),
    ] {
        let length = payload.len();
        let expected = ChainMalformed::HeaderBeyondPacket { header: first, at: 40, length };
        assert_eq!(walk(first, payload), Err(expected));
        assert_eq!(answer(first, payload), Some((0, 40 + u32::from(length > 0), false)));
    }
}

#[test]
fn rfc8883_what_is_too_much() {
    let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(8);
    chain[56] = 6;
    assert_eq!(walk(Protocol::DESTINATION_OPTIONS, &chain).unwrap().start, 104);
    chain[56] = 60;
    chain.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(answer(Protocol::DESTINATION_OPTIONS, &chain), Some((8, 104, false)));

    let mut options = [0x1e, 0].repeat(8);
    assert!(walk(Protocol::DESTINATION_OPTIONS, &with_options(&options)).is_ok());
    options.extend([0x1e, 0]);
    let payload = with_options(&options);
    assert_eq!(answer(Protocol::DESTINATION_OPTIONS, &payload), Some((9, 58, false)));
}
