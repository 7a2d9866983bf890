//! The arguments of a call, by their place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::script::ast::Expression;
use crate::script::{Problem, constants, not_supported};

/// The arguments of a call, by their place.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(pub(super) &'a [Expression]);

impl<'a> Arguments<'a> {
    pub(super) fn get(self, index: usize) -> Result<&'a Expression, Problem> {
        self.0.get(index).ok_or_else(|| format!("argument {} is missing", index + 1).into())
    }

    pub(super) fn integer(self, index: usize) -> Result<i64, Problem> {
        integer(self.get(index)?)
    }

    pub(super) fn names(self, index: usize) -> Result<Vec<&'a str>, Problem> {
        match self.get(index)? {
            Expression::Names(names) => Ok(names.iter().map(String::as_str).collect()),
            _ => Err(format!("argument {} must be a name", index + 1).into()),
        }
    }

    /// Names with `|` between, or 0 for none; none too when the argument is missing.
    pub(super) fn flags(self, index: usize) -> Result<Vec<&'a str>, Problem> {
        match self.0.get(index) {
            None | Some(Expression::Integer(0)) => Ok(Vec::new()),
            Some(_) => self.names(index),
        }
    }

    /// A `struct sockaddr_in` or `sockaddr_in6`, or `default` for `...`.
    pub(super) fn address(self, index: usize, default: SocketAddr) -> Result<SocketAddr, Problem> {
        let fields = match self.get(index)? {
            Expression::Ellipsis => return Ok(default),
            Expression::Record(fields) => fields,
            _ => return Err(format!("argument {} must be an address", index + 1).into()),
        };
        let mut address = default;
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("sa_family" | "sin_family", Expression::Names(names))
                    if names[..] == ["AF_INET"] => {}
                ("sa_family" | "sin6_family", Expression::Names(names))
                    if names[..] == ["AF_INET6"] && default.is_ipv6() => {}
                ("sa_family" | "sin_family" | "sin6_family", _) => {
                    return Err(not_supported("an address of another family"));
                }
                ("sin_port" | "sin6_port", value) => {
                    let port = u16::try_from(integer(value)?);
                    address.set_port(port.map_err(|_| Problem::from("the port is too big"))?);
                }
                ("sin_addr", Expression::Apply(name, inner)) if name == "inet_addr" => {
                    let Some(Expression::Text(text)) = inner.first() else {
                        return Err("inet_addr needs a string".into());
                    };
                    let ip = text.parse().map_err(|_| format!("`{text}` is no address"))?;
                    address.set_ip(ip);
                }
                ("sin6_addr", Expression::Names(names)) if names[..] == ["in6addr_any"] => {
                    address.set_ip(Ipv6Addr::UNSPECIFIED.into());
                }
                ("sin_addr", Expression::Names(names)) if names[..] == ["INADDR_ANY"] => {
                    address.set_ip(match address.ip() {
                        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                    });
                }
                _ => return Err(not_supported(format!("the field {name} of an address"))),
            }
        }
        Ok(address)
    }
}

/// The value of a number, a constant, or several constants with `|` between.
pub(super) fn integer(expression: &Expression) -> Result<i64, Problem> {
    match expression {
        Expression::Integer(value) => Ok(*value),
        Expression::Apply(name, inner) if matches!(name.as_str(), "htons" | "htonl") => {
            inner.first().map_or_else(|| Err(format!("{name} needs a number").into()), integer)
        }
        Expression::Names(names) => names.iter().try_fold(0, |all, name| {
            let value = constants::value(name)
                .ok_or_else(|| not_supported(format!("the constant {name}")))?;
            Ok(all | value)
        }),
        Expression::Either(values) => {
            values.iter().try_fold(0, |all, value| integer(value).map(|value| all | value))
        }
        _ => Err("expected a number".into()),
    }
}

/// Whether the buffer of a call is no buffer.
pub(super) fn is_null(arguments: Arguments<'_>) -> bool {
    matches!(arguments.0.get(1), Some(Expression::Names(names)) if names[..] == ["NULL"])
}

/// The one number in `[ ]`, or a number without.
pub(super) fn one_in_list(expression: &Expression) -> Result<i64, Problem> {
    match expression {
        Expression::List(list) => match &list[..] {
            [value] => integer(value),
            _ => Err("expected one number in [ ]".into()),
        },
        other => integer(other),
    }
}

/// The field of a record called one of `names`.
pub(super) fn field<'a>(
    fields: &'a [(String, Expression)],
    names: &[&str],
) -> Option<&'a Expression> {
    fields.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value)
}

/// The buffers of `[{..., 10}, {..., 20}]`: what is in them, and how long they are together.
pub(super) fn buffers(expression: &Expression) -> Result<(Vec<&Expression>, i64), Problem> {
    let Expression::List(list) = expression else {
        return Err("expected a list of buffers, [{..., 10}]".into());
    };
    let mut contents = Vec::new();
    let mut total: i64 = 0;
    for buffer in list {
        let Expression::Tuple(pair) = buffer else { return Err("a buffer is {..., 10}".into()) };
        let [content, length] = &pair[..] else { return Err("a buffer is {..., 10}".into()) };
        contents.push(content);
        total = total.saturating_add(integer(length)?);
    }
    Ok((contents, total))
}
