//! Options of TCP (tcp(7)).

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::{flag, int, of_flag, of_int, only_off, seconds};
use crate::network::Network;
use crate::table::{Kind, Socket, Tcp};
use crate::tcp_info;

const TCP_NODELAY: i32 = 1;
const TCP_MAXSEG: i32 = 2;
const TCP_CORK: i32 = 3;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
const TCP_KEEPCNT: i32 = 6;
const TCP_SYNCNT: i32 = 7;
const TCP_LINGER2: i32 = 8;
const TCP_DEFER_ACCEPT: i32 = 9;
const TCP_WINDOW_CLAMP: i32 = 10;
const TCP_INFO: i32 = 11;
const TCP_QUICKACK: i32 = 12;
const TCP_CONGESTION: i32 = 13;
const TCP_USER_TIMEOUT: i32 = 18;
const TCP_FASTOPEN: i32 = 23;
const TCP_NOTSENT_LOWAT: i32 = 25;
const TCP_FASTOPEN_CONNECT: i32 = 30;
const TCP_ULP: i32 = 31;
const TCP_INQ: i32 = 36;

/// `TCP_CA_NAME_MAX`
const CONGESTION_NAME: usize = 16;
/// `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`
const MAX_KEEPALIVE: u64 = 32_767;
/// Linux's smallest and largest `TCP_MAXSEG`.
const SEGMENTS: std::ops::RangeInclusive<i32> = 88..=32_767;
/// `MAX_TCP_SYNCNT`
const MAX_SYN_RETRIES: i32 = 127;
/// The smallest `TCP_WINDOW_CLAMP` of Linux, half of its smallest receive buffer.
const MIN_CLAMP: u32 = 1152;
/// `TCP_FIN_TIMEOUT_MAX`
const MAX_LINGER2: u64 = 120;
/// The longest `TCP_DEFER_ACCEPT`, in seconds: what 255 timeouts of a SYN-ACK come to.
const MAX_DEFERRAL: u64 = 32_767;
/// The send buffer of a Unix socket (`net.core.wmem_default`).
const PAIR_BUFFER: usize = 208 << 10;
/// How long an ACK waits when it is not to wait.
const AT_ONCE: Duration = Duration::ZERO;

impl Socket {
    pub(super) fn get_tcp_option(&self, option: i32, network: &Network) -> Result<Vec<u8>, Errno> {
        let options = self.settings.tcp(network);
        let keepalive = self.settings.keepalive_numbers.unwrap_or_default();
        let seconds = |time: Duration| of_int(i32::try_from(time.as_secs()).unwrap_or(i32::MAX));
        match option {
            TCP_NODELAY => of_flag(options.nodelay),
            TCP_CORK => of_flag(options.cork),
            TCP_MAXSEG => {
                let now = self.stream().and_then(|stream| stream.info().ok());
                let set = options.max_segment.map(i32::from);
                let now = now.map(|info| i32::try_from(info.snd_mss).unwrap_or(i32::MAX));
                of_int(now.or(set).unwrap_or(536)) // RFC 9293 3.7.1
            }
            TCP_KEEPIDLE => seconds(keepalive.idle),
            TCP_KEEPINTVL => seconds(keepalive.interval),
            TCP_KEEPCNT => of_int(keepalive.probes.into()),
            TCP_SYNCNT => {
                of_int(options.syn_retries.unwrap_or(network.config().syn_retries).into())
            }
            TCP_LINGER2 => seconds(options.fin_wait_2.unwrap_or(network.config().fin_wait_2)),
            TCP_DEFER_ACCEPT => seconds(options.defer_accept.unwrap_or_default()),
            TCP_WINDOW_CLAMP => of_size(options.window_clamp),
            TCP_NOTSENT_LOWAT => of_size(options.notsent_lowat),
            TCP_QUICKACK => of_flag(options.delayed_ack == AT_ONCE),
            TCP_FASTOPEN | TCP_FASTOPEN_CONNECT | TCP_INQ => of_int(0),
            TCP_CONGESTION => {
                let info = self.stream().and_then(|stream| stream.info().ok());
                // A controller has no name before there is one.
                let name = info.map_or_else(|| (options.congestion)(536).name(), |i| i.congestion);
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(CONGESTION_NAME, 0);
                Ok(bytes)
            }
            TCP_USER_TIMEOUT => {
                let timeout = options.user_timeout.unwrap_or_default();
                of_int(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
            }
            TCP_INFO => Ok(self.tcp_info(network)),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    pub(super) fn set_tcp_option(
        &mut self,
        option: i32,
        value: &[u8],
        descriptor: &OwnedFd,
        network: &Network,
    ) -> Result<(), Errno> {
        let mut keepalive = self.settings.keepalive_numbers.unwrap_or_default();
        match option {
            TCP_NODELAY => {
                let on = flag(value)?;
                self.change_tcp(network, |options| options.nodelay = on)
            }
            TCP_CORK => {
                let on = flag(value)?;
                self.change_tcp(network, |options| options.cork = on)
            }
            TCP_QUICKACK => {
                let delay = if flag(value)? { AT_ONCE } else { network.config().tcp.delayed_ack };
                self.change_tcp(network, |options| options.delayed_ack = delay)
            }
            TCP_MAXSEG => {
                let segment = int(value)?;
                if segment != 0 && !SEGMENTS.contains(&segment) {
                    return Err(Errno::INVAL);
                }
                let segment = u16::try_from(segment).ok().filter(|segment| *segment > 0);
                self.change_tcp(network, |options| options.max_segment = segment)
            }
            TCP_KEEPIDLE | TCP_KEEPINTVL | TCP_KEEPCNT => {
                match option {
                    TCP_KEEPIDLE => keepalive.idle = seconds(value, MAX_KEEPALIVE)?,
                    TCP_KEEPINTVL => keepalive.interval = seconds(value, MAX_KEEPALIVE)?,
                    _ => {
                        let probes = u8::try_from(int(value)?).ok();
                        let probes = probes.filter(|probes| (1..=127).contains(probes));
                        keepalive.probes = probes.ok_or(Errno::INVAL)?;
                    }
                }
                self.settings.keepalive_numbers = Some(keepalive);
                self.apply_keepalive(network)
            }
            TCP_USER_TIMEOUT => {
                let millis = u64::try_from(int(value)?).map_err(|_| Errno::INVAL)?;
                let timeout = (millis > 0).then(|| Duration::from_millis(millis));
                self.change_tcp(network, |options| options.user_timeout = timeout)
            }
            TCP_CONGESTION => {
                let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = std::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
                let factory = estab::congestion::by_name(name).ok_or(Errno::NOENT)?;
                self.change_tcp(network, |options| options.congestion = factory)
            }
            TCP_SYNCNT => {
                let count = int(value)?;
                let count =
                    u8::try_from(count).ok().filter(|_| (1..=MAX_SYN_RETRIES).contains(&count));
                let count = Some(count.ok_or(Errno::INVAL)?);
                self.change_tcp(network, |options| options.syn_retries = count)
            }
            TCP_LINGER2 => {
                // Less than none, by which Linux does not wait for the peer at all, is not offered.
                let asked = u64::try_from(int(value)?).map_err(|_| Errno::NOPROTOOPT)?;
                let time = (asked > 0).then(|| Duration::from_secs(asked.min(MAX_LINGER2)));
                self.change_tcp(network, |options| options.fin_wait_2 = time)
            }
            TCP_DEFER_ACCEPT => {
                let asked = u64::try_from(int(value)?).unwrap_or(0);
                let initial = network.config().tcp.rto.initial;
                let time = deferral(asked.min(MAX_DEFERRAL), initial.as_secs().max(1));
                self.change_tcp(network, |options| options.defer_accept = time)
            }
            TCP_WINDOW_CLAMP => {
                let asked = u32::try_from(int(value)?).unwrap_or(u32::MAX);
                if asked == 0 && !matches!(self.kind, Kind::Tcp(Tcp::Fresh)) {
                    return Err(Errno::INVAL);
                }
                let clamp = (asked > 0).then(|| asked.max(MIN_CLAMP));
                self.change_tcp(network, |options| options.window_clamp = clamp)
            }
            TCP_NOTSENT_LOWAT => {
                // A negative number is a large one.
                let asked = int(value)?.cast_unsigned();
                let most = Some(asked).filter(|most| *most > 0 && *most < u32::MAX);
                self.change_tcp(network, |options| options.notsent_lowat = most)?;
                self.bound_pair(descriptor)
            }
            TCP_ULP => Err(Errno::NOENT),
            TCP_FASTOPEN | TCP_FASTOPEN_CONNECT => only_off(value, Errno::OPNOTSUPP),
            TCP_INQ => only_off(value, Errno::NOPROTOOPT),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// `TCP_NOTSENT_LOWAT` counts what waits in the pair, too: the program's end takes no more than that. The
    /// kernel doubles what it is given.
    fn bound_pair(&self, end: &OwnedFd) -> Result<(), Errno> {
        let most = self.settings.tcp.as_ref().and_then(|options| options.notsent_lowat);
        let most = most.map_or(PAIR_BUFFER, |most| (most as usize).min(PAIR_BUFFER));
        set_socket_send_buffer_size(end, most / 2)
    }

    fn tcp_info(&self, network: &Network) -> Vec<u8> {
        match (&self.kind, self.stream().and_then(|stream| stream.info().ok())) {
            (_, Some(info)) => {
                let now = network.stack.now();
                tcp_info::encode(&info, now, self.settings.tcp(network).max_pacing_rate)
            }
            (Kind::Tcp(Tcp::Listening(listening)), None) => {
                // Its two queues stand where a connection has what it has not acknowledged.
                let waiting = listening.waiting + listening.ready.len();
                tcp_info::of_listener(waiting, listening.backlog)
            }
            _ => tcp_info::of_closed(),
        }
    }
}

/// As Linux counts it, in whole timeouts of a SYN-ACK, each twice as long as the one before: the time that those
/// take which are needed for `asked` seconds. Nothing for none.
fn deferral(asked: u64, initial: u64) -> Option<Duration> {
    let (mut wait, mut passed) = (initial, 0_u64);
    while passed < asked {
        passed = passed.saturating_add(wait);
        wait = wait.saturating_mul(2).min(120);
    }
    (passed > 0).then(|| Duration::from_secs(passed))
}

fn of_size(size: Option<u32>) -> Result<Vec<u8>, Errno> {
    of_int(i32::try_from(size.unwrap_or(0)).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deferral_is_counted_in_timeouts() {
        for (asked, seconds) in [(0, 0), (1, 1), (2, 3), (3, 3), (4, 7), (30, 31), (200, 247)] {
            assert_eq!(deferral(asked, 1).unwrap_or_default(), Duration::from_secs(seconds));
        }
    }
}
