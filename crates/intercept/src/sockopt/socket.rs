//! Options of every socket (socket(7)).

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt as native;

use super::{flag, int, of_flag, of_int, only_off, set_native_timeout};
use crate::network::Network;
use crate::table::{Kind, Socket, Tcp};
use crate::udp::control::Precision;

const SO_DEBUG: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_TYPE: i32 = 3;
const SO_ERROR: i32 = 4;
const SO_DONTROUTE: i32 = 5;
const SO_BROADCAST: i32 = 6;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const SO_KEEPALIVE: i32 = 9;
const SO_OOBINLINE: i32 = 10;
const SO_PRIORITY: i32 = 12;
const SO_LINGER: i32 = 13;
const SO_REUSEPORT: i32 = 15;
const SO_RCVLOWAT: i32 = 18;
const SO_SNDLOWAT: i32 = 19;
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
const SO_BINDTODEVICE: i32 = 25;
const SO_TIMESTAMP: i32 = 29;
const SO_ACCEPTCONN: i32 = 30;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;
const SO_TIMESTAMPNS: i32 = 35;
const SO_MARK: i32 = 36;
const SO_TIMESTAMPING: i32 = 37;
const SO_PROTOCOL: i32 = 38;
const SO_DOMAIN: i32 = 39;
const SO_MAX_PACING_RATE: i32 = 47;
const SO_COOKIE: i32 = 57;
const SO_ZEROCOPY: i32 = 60;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;

/// The limits of `SO_SNDBUF` and `SO_RCVBUF`: the smallest as on Linux, the largest what the stack lets
/// its own buffers grow to.
const MIN_BUFFER: usize = 4608;
const MAX_BUFFER: usize = 6 << 20;

/// The smallest buffer of a UDP socket: the pair refuses a datagram that does not fit in whole.
const MIN_DATAGRAM_BUFFER: usize = 66 << 10;

impl Socket {
    pub(super) fn get_socket_option(
        &mut self,
        option: i32,
        descriptor: &OwnedFd,
        network: &Network,
    ) -> Result<Vec<u8>, Errno> {
        let udp = matches!(self.kind, Kind::Udp(_));
        let settings = &self.settings;
        match option {
            SO_TYPE => of_int(if udp { 2 } else { 1 }),
            SO_PROTOCOL => of_int(if udp { 17 } else { 6 }),
            SO_DOMAIN => of_int(self.domain.family().into()),
            SO_ACCEPTCONN => of_flag(matches!(self.kind, Kind::Tcp(Tcp::Listening(_)))),
            SO_ERROR => of_int(self.take_error(descriptor).map_or(0, Errno::raw_os_error)),
            SO_REUSEADDR => of_flag(settings.reuse_address),
            SO_REUSEPORT => of_flag(settings.reuse_port),
            SO_KEEPALIVE => of_flag(settings.keepalive),
            SO_BROADCAST => of_flag(settings.broadcast),
            SO_OOBINLINE => of_flag(settings.oob_inline),
            // Datagrams wait in the pair: what comes, in what our end has sent.
            SO_SNDBUF if udp => of_buffer(native::socket_send_buffer_size(descriptor)?),
            SO_RCVBUF if udp => of_buffer(native::socket_send_buffer_size(self.pair_end()?)?),
            SO_SNDBUF => of_buffer(self.send_buffer(network)),
            SO_RCVBUF => of_buffer(self.receive_buffer(network)),
            SO_RCVLOWAT | SO_SNDLOWAT => of_int(1),
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => Ok(of_timeout(settings.receive_timeout)),
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => Ok(of_timeout(settings.send_timeout)),
            SO_LINGER => Ok(of_linger(settings.tcp(network).linger)),
            SO_COOKIE => Ok(self.cookie.to_ne_bytes().to_vec()),
            SO_MAX_PACING_RATE => {
                let rate = settings.tcp(network).max_pacing_rate;
                let rate = rate.and_then(|rate| u32::try_from(rate).ok()).unwrap_or(u32::MAX);
                Ok(rate.to_ne_bytes().to_vec())
            }
            // What they are when nobody may set them.
            SO_TIMESTAMP => of_flag(settings.wanted.timestamp == Some(Precision::Microseconds)),
            SO_TIMESTAMPNS => of_flag(settings.wanted.timestamp == Some(Precision::Nanoseconds)),
            SO_DEBUG | SO_DONTROUTE | SO_PRIORITY | SO_TIMESTAMPING | SO_MARK | SO_ZEROCOPY => {
                of_int(0)
            }
            SO_BINDTODEVICE => Ok(Vec::new()),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// What `SO_ERROR` says, once. What a read of the program has seen already is not said again.
    pub(crate) fn take_error(&mut self, descriptor: &OwnedFd) -> Option<Errno> {
        if let Kind::Udp(udp) = &mut self.kind {
            return udp.take_error(descriptor);
        }
        let at_end = native::socket_error(descriptor).ok()?.err();
        let error = self.error.take();
        let seen = at_end.is_none() && self.ours.is_none();
        error.filter(|_| !seen)
    }

    pub(super) fn set_socket_option(
        &mut self,
        option: i32,
        value: &[u8],
        descriptor: &OwnedFd,
        network: &Network,
    ) -> Result<(), Errno> {
        let udp = matches!(self.kind, Kind::Udp(_));
        match option {
            SO_REUSEADDR => {
                self.settings.reuse_address = flag(value)?;
                self.share_port()?;
            }
            SO_REUSEPORT => {
                self.settings.reuse_port = flag(value)?;
                self.share_port()?;
            }
            SO_BROADCAST => {
                self.settings.broadcast = flag(value)?;
                if let Kind::Udp(udp) = &self.kind {
                    let on = self.settings.broadcast;
                    udp.set(|udp| udp.set_broadcast(on))?;
                }
            }
            SO_KEEPALIVE => {
                self.settings.keepalive = flag(value)?;
                self.apply_keepalive(network)?;
            }
            SO_OOBINLINE => self.settings.oob_inline = flag(value)?,
            SO_SNDBUF if udp => set_datagram_buffer(descriptor, value)?,
            SO_RCVBUF if udp => set_datagram_buffer(self.pair_end()?, value)?,
            SO_SNDBUF => {
                let size = buffer_size(value)?;
                self.change_tcp(network, |options| options.send_buffer = Some(size))?;
            }
            SO_RCVBUF => {
                let size = buffer_size(value)?;
                self.change_tcp(network, |options| options.receive_buffer = Some(size))?;
            }
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => {
                let timeout = timeout(value)?;
                self.settings.receive_timeout = timeout;
                set_native_timeout(descriptor, native::Timeout::Recv, timeout);
            }
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => {
                let timeout = timeout(value)?;
                self.settings.send_timeout = timeout;
                set_native_timeout(descriptor, native::Timeout::Send, timeout);
            }
            SO_LINGER => {
                let linger = linger(value)?;
                self.change_tcp(network, |options| options.linger = linger)?;
            }
            SO_MAX_PACING_RATE => {
                let rate = u64::from(int(value)?.cast_unsigned());
                let rate = Some(rate).filter(|rate| *rate != 0 && *rate != u64::from(u32::MAX));
                self.change_tcp(network, |options| options.max_pacing_rate = rate)?;
            }
            SO_TIMESTAMP if udp => self.want_time(value, Precision::Microseconds)?,
            SO_TIMESTAMPNS if udp => self.want_time(value, Precision::Nanoseconds)?,
            SO_RCVLOWAT if int(value)? <= 1 => {}
            SO_DEBUG => only_off(value, Errno::ACCESS)?,
            SO_DONTROUTE | SO_PRIORITY | SO_TIMESTAMP | SO_TIMESTAMPNS | SO_TIMESTAMPING => {
                only_off(value, Errno::NOPROTOOPT)?;
            }
            SO_MARK | SO_SNDBUFFORCE | SO_RCVBUFFORCE => return Err(Errno::PERM),
            SO_BINDTODEVICE => return Err(Errno::NODEV),
            SO_ZEROCOPY => only_off(value, Errno::OPNOTSUPP)?,
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    /// Lets others have the port of a UDP socket, or not, also when it has it already.
    fn share_port(&self) -> Result<(), Errno> {
        let Kind::Udp(udp) = &self.kind else { return Ok(()) };
        let group = udp.local().is_some_and(|local| local.ip().is_multicast());
        let shared = self.settings.reuse_address || self.settings.reuse_port || group;
        udp.set(|udp| udp.set_shared(shared))
    }

    /// Has the time told when a datagram came; each of the two ways ends the other.
    fn want_time(&mut self, value: &[u8], precision: Precision) -> Result<(), Errno> {
        self.settings.wanted.timestamp = flag(value)?.then_some(precision);
        Ok(())
    }

    /// Has the stack send keep-alives, or not.
    pub(super) fn apply_keepalive(&mut self, network: &Network) -> Result<(), Errno> {
        if matches!(self.kind, Kind::Udp(_)) {
            return Ok(()); // As on Linux, where it means nothing there either.
        }
        let numbers = self.settings.keepalive_numbers.unwrap_or_default();
        let keepalive = self.settings.keepalive.then_some(numbers);
        self.change_tcp(network, |options| options.keepalive = keepalive)
    }

    /// Our end of the pair, which a UDP socket has until it is closed.
    fn pair_end(&self) -> Result<&OwnedFd, Errno> {
        self.ours.as_ref().ok_or(Errno::INVAL)
    }

    fn send_buffer(&self, network: &Network) -> usize {
        let now = self.stream().and_then(|stream| stream.info().ok());
        let set = self.settings.tcp(network).send_buffer;
        set.or(now.map(|info| info.send_buffer)).unwrap_or(network.config().send_buffer.initial)
    }

    fn receive_buffer(&self, network: &Network) -> usize {
        let now = self.stream().and_then(|stream| stream.info().ok());
        let set = self.settings.tcp(network).receive_buffer;
        set.or(now.map(|info| info.receive_buffer))
            .unwrap_or(network.config().receive_buffer.initial)
    }
}

/// As Linux has it, a program gets twice what it asks for, within limits.
fn buffer_size(value: &[u8]) -> Result<usize, Errno> {
    let asked = usize::try_from(int(value)?).unwrap_or(MAX_BUFFER);
    Ok(asked.saturating_mul(2).clamp(MIN_BUFFER, MAX_BUFFER))
}

/// Sets what one end of a UDP socket's pair holds on the way to the other; the kernel bounds it
/// (`net.core.wmem_max`) and doubles what it is given.
fn set_datagram_buffer(end: &OwnedFd, value: &[u8]) -> Result<(), Errno> {
    let size = buffer_size(value)?.max(MIN_DATAGRAM_BUFFER);
    native::set_socket_send_buffer_size(end, size / 2)
}

fn of_buffer(size: usize) -> Result<Vec<u8>, Errno> {
    of_int(i32::try_from(size).unwrap_or(i32::MAX))
}

/// A `struct timeval`; none is for ever.
fn timeout(value: &[u8]) -> Result<Option<Duration>, Errno> {
    let word = |place: usize| {
        let bytes = value.get(place..place + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i64::from_ne_bytes).ok_or(Errno::INVAL)
    };
    let (seconds, micros) = (word(0)?, word(8)?);
    let micros = u32::try_from(micros).ok().filter(|micros| *micros < 1_000_000);
    let micros = micros.ok_or(Errno::DOM)?;
    // A negative time does not wait (Linux says so in its log, and takes it).
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let timeout = Duration::new(seconds, micros * 1000);
    Ok(Some(timeout).filter(|timeout| !timeout.is_zero()))
}

fn of_timeout(timeout: Option<Duration>) -> Vec<u8> {
    let timeout = timeout.unwrap_or_default();
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let micros = i64::from(timeout.subsec_micros());
    [seconds.to_ne_bytes(), micros.to_ne_bytes()].concat()
}

/// A `struct linger`.
fn linger(value: &[u8]) -> Result<Option<Duration>, Errno> {
    let seconds = u64::try_from(int(value.get(4..).unwrap_or_default())?).unwrap_or(0);
    Ok(flag(value)?.then(|| Duration::from_secs(seconds)))
}

fn of_linger(linger: Option<Duration>) -> Vec<u8> {
    let seconds = linger.map_or(0, |linger| i32::try_from(linger.as_secs()).unwrap_or(i32::MAX));
    [i32::from(linger.is_some()).to_ne_bytes(), seconds.to_ne_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for time in [Duration::from_millis(1500), Duration::from_micros(1)] {
            assert_eq!(timeout(&of_timeout(Some(time))), Ok(Some(time)));
        }
        assert_eq!(timeout(&of_timeout(None)), Ok(None));
        assert_eq!(timeout(&[0; 4]), Err(Errno::INVAL));
        let bad = [1_i64.to_ne_bytes(), 1_000_000_i64.to_ne_bytes()].concat();
        assert_eq!(timeout(&bad), Err(Errno::DOM));
        for time in [None, Some(Duration::ZERO), Some(Duration::from_secs(5))] {
            assert_eq!(linger(&of_linger(time)), Ok(time));
        }
    }

    #[test]
    fn buffers_are_doubled_and_bounded() {
        let size = |asked: i32| buffer_size(&asked.to_ne_bytes()).unwrap();
        assert_eq!(size(65_536), 131_072);
        assert_eq!(size(0), MIN_BUFFER);
        assert_eq!(size(i32::MAX), MAX_BUFFER);
        assert_eq!(size(-1), MAX_BUFFER);
    }
}
