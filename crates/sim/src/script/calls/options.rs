//! Calls that set and ask: setsockopt, getsockopt, ioctl.

use super::arguments::{Arguments, field, integer, one_in_list};
use super::{Attempt, failed, returned};
use crate::script::ast::Expression;
use crate::script::runner::Runner;
use crate::script::sockets::{self, Kind, LINGER_OFF};
use crate::script::{Problem, errno, not_supported};
use stack::tcp::congestion;

impl Runner {
    pub(super) fn setsockopt(&mut self, arguments: Arguments<'_>) -> Attempt {
        let name = option_name(arguments)?;
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let outcome = match (name, arguments.get(3)?) {
            ("TCP_CONGESTION", value) => {
                let Some(factory) = congestion::by_name(text(value)?) else {
                    return failed("ENOENT");
                };
                socket.change_options(&mut self.stack, self.now, |options| {
                    options.congestion = factory;
                    Ok(())
                })?
            }
            ("SO_LINGER", Expression::Record(fields)) => {
                let value = linger(fields)?;
                socket.set_option(&mut self.stack, self.now, name, value)?
            }
            (_, value) => {
                let value = one_in_list(value)?;
                socket.set_option(&mut self.stack, self.now, name, value)?
            }
        };
        match outcome {
            Ok(()) => returned(0),
            Err(errno) => failed(errno),
        }
    }

    pub(super) fn getsockopt(&mut self, arguments: Arguments<'_>) -> Attempt {
        let name = option_name(arguments)?;
        let socket = self.sockets.get(arguments.integer(0)?)?;
        let wanted = arguments.get(3)?;
        if name == "TCP_CONGESTION" {
            let options = match socket.kind {
                Kind::Connection(id) => {
                    self.stack.tcp_options(id).map_err(|error| error.to_string())?
                }
                Kind::Fresh | Kind::Listener(_) => &socket.options,
            };
            let found = (options.congestion)(1460).name();
            return match wanted {
                Expression::Ellipsis => returned(0),
                wanted if text(wanted)? == found => returned(0),
                _ => Err(format!("{name} is \"{found}\"").into()),
            };
        }
        let found = match (name, socket.kind) {
            ("SO_ERROR", Kind::Connection(id)) => match self.stack.take_error(id) {
                Ok(None) => 0,
                Ok(Some(error)) | Err(error) => errno::number(errno::name(error)).unwrap_or(-1),
            },
            ("SO_ERROR", _) => 0,
            ("SO_ACCEPTCONN", kind) => i64::from(matches!(kind, Kind::Listener(_))),
            ("SO_TYPE", _) => 1,
            ("SO_PROTOCOL", _) => 6,
            ("TCP_INFO", Kind::Connection(_)) if *wanted == Expression::Ellipsis => 0,
            ("TCP_INFO", _) => return Err(not_supported("TCP_INFO outside of %{ }%")),
            ("TCP_MAXSEG", Kind::Connection(id)) => {
                let info = self.stack.info(id).map_err(|error| error.to_string())?;
                i64::from(info.snd_mss)
            }
            (_, Kind::Connection(id)) => {
                let options = self.stack.tcp_options(id).map_err(|error| error.to_string())?;
                let mut options = options.clone();
                let info = self.stack.info(id).map_err(|error| error.to_string())?;
                options.receive_buffer = Some(info.receive_buffer);
                options.send_buffer = Some(info.send_buffer);
                sockets::get(&options, self.stack.config(), name)?
            }
            (_, Kind::Fresh | Kind::Listener(_)) => {
                sockets::get(&socket.options, self.stack.config(), name)?
            }
        };
        compare(name, found, wanted)
    }

    pub(super) fn ioctl(&mut self, arguments: Arguments<'_>) -> Attempt {
        let Kind::Connection(id) = self.sockets.get(arguments.integer(0)?)?.kind else {
            return failed("EINVAL");
        };
        let names = arguments.names(1)?;
        let info = self.stack.info(id).map_err(|error| error.to_string())?;
        let unsent = i64::try_from(info.notsent).unwrap_or(i64::MAX);
        let found = match names[..] {
            ["FIONREAD" | "SIOCINQ"] => {
                let bytes = self.stack.readable_bytes(id).map_err(|error| error.to_string())?;
                i64::try_from(bytes).unwrap_or(i64::MAX)
            }
            ["SIOCOUTQ" | "TIOCOUTQ"] => i64::from(info.unacked).saturating_add(unsent),
            ["SIOCOUTQNSD"] => unsent,
            _ => return Err(not_supported(format!("ioctl {}", names.join("|")))),
        };
        compare(names[0], found, arguments.get(2)?)
    }
}

fn compare(name: &str, found: i64, wanted: &Expression) -> Attempt {
    if *wanted == Expression::Ellipsis {
        return returned(0);
    }
    let wanted = one_in_list(wanted)?;
    if found != wanted {
        return Err(format!("{name} is {found}, expected {wanted}").into());
    }
    returned(0)
}

fn option_name<'a>(arguments: Arguments<'a>) -> Result<&'a str, Problem> {
    match arguments.names(2)?[..] {
        [name] => Ok(name),
        _ => Err("the third argument is the name of one option".into()),
    }
}

/// `"reno"`, or `["reno"]`.
fn text(value: &Expression) -> Result<&str, Problem> {
    match value {
        Expression::Text(text) => Ok(text.trim_end_matches('\0')),
        Expression::List(list) if list.len() == 1 => list.first().map_or(Ok(""), text),
        _ => Err("expected a string".into()),
    }
}

fn linger(fields: &[(String, Expression)]) -> Result<i64, Problem> {
    let value = |names: [&str; 2]| {
        let found = field(fields, &names).ok_or_else(|| format!("linger needs {}", names[0]));
        integer(found?)
    };
    let on = value(["onoff", "l_onoff"])?;
    if on == 0 { Ok(LINGER_OFF) } else { value(["linger", "l_linger"]) }
}
