//! Options of TCP (tcp(7)).

use std::time::Duration;

use rustix::io::Errno;

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
const TCP_FASTOPEN_CONNECT: i32 = 30;
const TCP_ULP: i32 = 31;
const TCP_INQ: i32 = 36;

/// `TCP_CA_NAME_MAX`
const CONGESTION_NAME: usize = 16;
/// `MAX_TCP_KEEPIDLE` and `MAX_TCP_KEEPINTVL`
const MAX_KEEPALIVE: u64 = 32_767;
/// Linux's smallest and largest `TCP_MAXSEG`.
const SEGMENTS: std::ops::RangeInclusive<i32> = 88..=32_767;
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
            TCP_SYNCNT => of_int(network.config().syn_retries.into()),
            TCP_LINGER2 => of_int(60),
            TCP_QUICKACK => of_flag(options.delayed_ack == AT_ONCE),
            TCP_DEFER_ACCEPT | TCP_WINDOW_CLAMP | TCP_FASTOPEN | TCP_FASTOPEN_CONNECT | TCP_INQ => {
                of_int(0)
            }
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
            TCP_ULP => Err(Errno::NOENT),
            TCP_FASTOPEN | TCP_FASTOPEN_CONNECT => only_off(value, Errno::OPNOTSUPP),
            TCP_DEFER_ACCEPT | TCP_INQ => only_off(value, Errno::NOPROTOOPT),
            _ => Err(Errno::NOPROTOOPT),
        }
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
