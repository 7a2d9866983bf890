//! The options of an echo request that come back in its answer, with us in them (RFC 1122 3.2.2.6 and
//! 3.2.1.8, RFC 791 3.1).

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use wire::ipv4::{self, Ipv4Option, kind};

/// What is before the data of a route, and of timestamps.
const ROUTE_DATA: usize = 3;
const TIMES_DATA: usize = 4;

/// Of `asked`, the recorded route and the timestamps, to which we add ourselves where there is room; no
/// other option comes back. `time` is in milliseconds of the day.
pub(super) fn recorded(asked: &ipv4::Options, ours: Ipv4Addr, time: u32) -> ipv4::Options {
    let mut bytes = Vec::new();
    for option in asked {
        match option {
            Ipv4Option::RecordRoute(route) => {
                record_route(&mut bytes, route.pointer, route.data, ours);
            }
            Ipv4Option::Timestamp { pointer, overflow, flag, data } => {
                record_time(&mut bytes, (pointer, overflow, flag), data, (ours, time));
            }
            _ => {}
        }
    }
    // They fitted into a header before.
    ipv4::Options::from_bytes(&bytes).unwrap_or(ipv4::Options::NONE)
}

fn record_route(into: &mut Vec<u8>, pointer: u8, data: &[u8], ours: Ipv4Addr) {
    let start = into.len();
    let length = u8::try_from(ROUTE_DATA + data.len()).unwrap_or(u8::MAX);
    into.extend([kind::RECORD_ROUTE, length, pointer]);
    into.extend_from_slice(data);
    let place = usize::from(pointer).checked_sub(1).filter(|place| *place >= ROUTE_DATA);
    let place = place.and_then(|at| into.get_mut(start + at..start + at + 4));
    if let Some(place) = place {
        place.copy_from_slice(&ours.octets());
        into[start + 2] = pointer.saturating_add(4);
    }
}

/// Flag 0 has times alone, 1 has addresses before them, and 3 has addresses of those who are asked for
/// their time.
fn record_time(
    into: &mut Vec<u8>,
    (pointer, overflow, flag): (u8, u8, u8),
    data: &[u8],
    (ours, time): (Ipv4Addr, u32),
) {
    let start = into.len();
    let length = u8::try_from(TIMES_DATA + data.len()).unwrap_or(u8::MAX);
    into.extend([kind::TIMESTAMP, length, pointer, overflow << 4 | flag & 15]);
    into.extend_from_slice(data);
    let Some(place) = usize::from(pointer).checked_sub(1).filter(|at| *at >= TIMES_DATA) else {
        return;
    };
    let time = time.to_be_bytes();
    let entry = match flag {
        0 => time.to_vec(),
        1 => [ours.octets(), time].concat(),
        3 if data.get(place - TIMES_DATA..).is_some_and(|at| at.starts_with(&ours.octets())) => {
            [ours.octets(), time].concat()
        }
        // Somebody else's turn, or nobody knows what.
        _ => return,
    };
    match into.get_mut(start + place..start + place + entry.len()) {
        Some(free) => {
            free.copy_from_slice(&entry);
            into[start + 2] = pointer.saturating_add(u8::try_from(entry.len()).unwrap_or(8));
        }
        // "If there is no room [...] the overflow count is incremented by one."
        None => into[start + 3] = overflow.saturating_add(1).min(15) << 4 | flag & 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn answer(asked: &[u8]) -> Vec<u8> {
        let asked = ipv4::Options::from_bytes(asked).unwrap();
        recorded(&asked, OURS, 0x8000_0001).as_bytes().to_vec()
    }

    #[test]
    fn we_are_in_the_route_that_is_recorded() {
        let (free, full) = ([7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0], [7, 7, 8, 10, 0, 0, 1]);
        let expected = [7, 11, 8, 10, 0, 0, 2, 0, 0, 0, 0, 0];
        assert_eq!(answer(&free), expected);
        assert_eq!(answer(&full), [&full[..], &[0]].concat());
        let second = [7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(answer(&second), [7, 11, 12, 10, 0, 0, 1, 10, 0, 0, 2, 0]);
    }

    #[test]
    fn our_time_is_among_the_others() {
        assert_eq!(answer(&[68, 8, 5, 0, 0, 0, 0, 0]), [68, 8, 9, 0, 0x80, 0, 0, 1]);
        assert_eq!(
            answer(&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            [68, 12, 13, 1, 10, 0, 0, 2, 0x80, 0, 0, 1]
        );
        let (asked, other) = ([10, 0, 0, 2], [10, 0, 0, 3]);
        let with = |who: [u8; 4]| [&[68, 12, 5, 3], &who[..], &[0; 4]].concat();
        assert_eq!(answer(&with(asked))[2..], [13, 3, 10, 0, 0, 2, 0x80, 0, 0, 1]);
        assert_eq!(answer(&with(other)), with(other));
        // There is no room for one more, and that is counted, up to fifteen.
        assert_eq!(answer(&[68, 8, 9, 0x20, 1, 2, 3, 4]), [68, 8, 9, 0x30, 1, 2, 3, 4]);
        assert_eq!(answer(&[68, 8, 9, 0xf0, 1, 2, 3, 4]), [68, 8, 9, 0xf0, 1, 2, 3, 4]);
    }

    /// Pointers that no careful host makes lead nowhere.
    #[test]
    fn wild_pointers_change_nothing() {
        for pointer in [0, 1, 2, 3, 6, 255] {
            let asked = [7, 7, pointer, 0, 0, 0, 0];
            assert_eq!(answer(&asked)[..7], asked);
            let asked = [68, 8, pointer.min(4), 0, 0, 0, 0, 0];
            assert_eq!(answer(&asked), asked);
        }
    }

    #[test]
    fn other_options_do_not_come_back() {
        assert!(answer(&[148, 4, 0, 0, 1, 1, 1, 0]).is_empty());
    }
}
