//! The options of IPv4 that programs give their datagrams, and what we write into those on the way
//! (RFC 791 3.1, RFC 1122 3.2.1.8).

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use wire::ipv4::{Ipv4Option, Options, kind};
use wire::time::Instant;

use crate::error::Error;

/// What is before the data of a route, and of timestamps.
const ROUTE_DATA: usize = 3;
const TIMES_DATA: usize = 4;

/// Marks a time that is not counted from midnight UT (RFC 792, timestamp messages; RFC 791 3.1): the stack
/// has no calendar.
const NOT_UNIVERSAL_TIME: u32 = 0x8000_0000;

/// The options of IPv4 that `bytes` are, padded to a multiple of 4, if a program may send them.
///
/// # Errors
/// [`Error::InvalidInput`] for more than 40 bytes, and for an option that no receiver could read;
/// [`Error::PermissionDenied`] for a source route, which nobody forwards and we do not take (RFC 7126 4.3, 4.4).
pub fn options_to_send(bytes: &[u8]) -> Result<Options, Error> {
    let options = Options::from_bytes(bytes).ok_or(Error::InvalidInput)?;
    for option in &options {
        match option {
            Ipv4Option::LooseSourceRoute(_) | Ipv4Option::StrictSourceRoute(_) => {
                return Err(Error::PermissionDenied);
            }
            Ipv4Option::BadLength { .. } | Ipv4Option::WrongSize { .. } => {
                return Err(Error::InvalidInput);
            }
            Ipv4Option::RecordRoute(route) if usize::from(route.pointer) <= ROUTE_DATA => {
                return Err(Error::InvalidInput);
            }
            Ipv4Option::Timestamp { pointer, .. } if usize::from(pointer) <= TIMES_DATA => {
                return Err(Error::InvalidInput);
            }
            _ => {}
        }
    }
    Ok(options)
}

/// Milliseconds of some day, and the bit that says that it is not that of UTC (RFC 792).
pub(crate) fn time_of_day(now: Instant) -> u32 {
    // Milliseconds of a day and more fit into 31 bits; beyond that they start anew.
    let millis = (now.as_millis() & u64::from(!NOT_UNIVERSAL_TIME)) as u32;
    millis | NOT_UNIVERSAL_TIME
}

/// `options` with us in their recorded routes and timestamps, where there is room: what whoever sends a
/// packet does, and whom it is for. `time` is in milliseconds of the day.
pub(crate) fn with_us(options: &Options, ours: Ipv4Addr, time: u32) -> Options {
    rewritten(options, (ours, time), true)
}

/// Of `asked`, the recorded route and the timestamps with us in them; no other option comes back in the
/// answer to an echo request (RFC 1122 3.2.2.6).
pub(crate) fn recorded(asked: &Options, ours: Ipv4Addr, time: u32) -> Options {
    rewritten(asked, (ours, time), false)
}

fn rewritten(options: &Options, (ours, time): (Ipv4Addr, u32), keep_others: bool) -> Options {
    let (mut bytes, mut iter) = (Vec::new(), options.iter());
    loop {
        let start = iter.position();
        let Some(option) = iter.next() else { break };
        match option {
            Ipv4Option::RecordRoute(route) => {
                record_route(&mut bytes, route.pointer, route.data, ours);
            }
            Ipv4Option::Timestamp { pointer, overflow, flag, data } => {
                record_time(&mut bytes, (pointer, overflow, flag), data, (ours, time));
            }
            Ipv4Option::EndOfList | Ipv4Option::BadLength { .. } => break,
            _ if keep_others => {
                let option = options.as_bytes().get(start..iter.position());
                bytes.extend_from_slice(option.unwrap_or_default());
            }
            _ => {}
        }
    }
    // They fitted into a header before.
    Options::from_bytes(&bytes).unwrap_or(Options::NONE)
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
        let asked = Options::from_bytes(asked).unwrap();
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
