//! Packets:
//!
//! ```text
//! packet  = ( "<" | ">" ) [ "peer" "(" n ")" ] [ "[" ip { "," ip } "]" ] ( segment | icmp )
//! ip      = "noecn" | "ect0" | "ect1" | "ect01" | "ce" | "tos" n | "ttl" n
//! segment = [ port ">" port ] flags seq ":" end "(" length ")" [ "ack" n ] [ "win" n ]
//!           [ "urg" n ] [ "bad_checksum" ] [ "<" ( "..." | option { "," option } ) ">" ]
//! icmp    = "icmp" type [ code ] [ "mtu" n ] [ "[" seq ":" end "(" length ")" "]" ]
//! ```
//! `peer`, `bad_checksum` and the option `raw KIND LENGTH` are our own; everything else is
//! packetdrill's.

use super::Parser;
use crate::script::Failure;
use crate::script::ast::{Action, Icmp, Packet, TrafficClass};
use crate::script::lexer::Token;
use crate::segment::Flags;

impl Parser {
    pub(super) fn packet(&mut self) -> Result<Action, Failure> {
        let arrives = self.accept('<');
        if !arrives {
            self.expect('>')?;
        }
        let peer = self.peer()?;
        let (traffic_class, ttl) = self.ip_header()?;
        let position = self.position();
        if let Some(Token::Name(name)) = self.peek() {
            match name.as_str() {
                "udp" | "icmpv6" | "ipv4" | "ipv6" | "gre" | "GREv0" | "mpls" | "encap" => {
                    return Err(position.not_supported(format!("{name} packets")));
                }
                "icmp" if !arrives => {
                    return Err(position.not_supported("an ICMP packet that leaves"));
                }
                _ => {}
            }
        }
        if self.accept_word("icmp") {
            return self.icmp(peer).map(Action::Icmp);
        }
        let packet = Packet { traffic_class, ttl, ..self.segment(peer)? };
        Ok(if arrives { Action::Arrives(packet) } else { Action::Leaves(packet) })
    }

    fn peer(&mut self) -> Result<u16, Failure> {
        if !self.accept_word("peer") {
            return Ok(0);
        }
        self.expect('(')?;
        let number = self.integer()?;
        self.expect(')')?;
        Ok(number)
    }

    fn segment(&mut self, peer: u16) -> Result<Packet, Failure> {
        let ports = self.ports()?;
        let flags = self.flags()?;
        let (seq, length) = self.sequence_range()?;
        let mut packet = Packet {
            peer,
            ports,
            traffic_class: TrafficClass::Any,
            ttl: None,
            flags,
            seq,
            length,
            ack: None,
            window: None,
            urgent: None,
            options: Some(Vec::new()),
            bad_checksum: false,
        };
        if self.accept_word("ack") {
            packet.ack = Some(self.integer()?);
        }
        match (packet.ack, flags.has(Flags::ACK)) {
            (Some(_), false) => return Err(self.position().invalid("`ack` needs the flag `.`")),
            (None, true) => packet.ack = Some(0),
            _ => {}
        }
        if self.accept_word("win") {
            packet.window = Some(self.integer()?);
        }
        if self.accept_word("urg") {
            packet.urgent = Some(self.integer()?);
        }
        packet.bad_checksum = self.accept_word("bad_checksum");
        // `<` of the next event would be preceded by its time, so this one opens options.
        if self.accept('<') {
            packet.options = self.options()?;
        }
        Ok(packet)
    }

    /// `[ect0]`, `(ttl 5)`, `[tos 0x10]`.
    fn ip_header(&mut self) -> Result<(TrafficClass, Option<u8>), Failure> {
        let (mut class, mut ttl) = (TrafficClass::Any, None);
        let close = match self.peek() {
            Some(Token::Sign('[')) => ']',
            Some(Token::Sign('(')) => ')',
            _ => return Ok((class, ttl)),
        };
        self.next += 1;
        loop {
            let position = self.position();
            match self.name()?.as_str() {
                "noecn" => class = TrafficClass::Ecn(0),
                "ect1" => class = TrafficClass::Ecn(1),
                "ect0" => class = TrafficClass::Ecn(2),
                "ce" => class = TrafficClass::Ecn(3),
                "ect01" => class = TrafficClass::Capable,
                "tos" => class = TrafficClass::Byte(self.integer()?),
                "ttl" => ttl = Some(self.integer()?),
                "flowlabel" => return Err(position.not_supported("IPv6 flow labels")),
                other => {
                    return Err(position.invalid(format!("`{other}` is no field of an IP header")));
                }
            }
            if self.accept(close) {
                return Ok((class, ttl));
            }
            self.expect(',')?;
        }
    }

    fn ports(&mut self) -> Result<Option<(u16, u16)>, Failure> {
        if !matches!(self.peek(), Some(Token::Integer(_))) {
            return Ok(None);
        }
        let source = self.integer()?;
        self.expect('>')?;
        Ok(Some((source, self.integer()?)))
    }

    fn flags(&mut self) -> Result<Flags, Failure> {
        let position = self.position();
        let mut flags = Flags::default();
        if self.accept('-') {
            return Ok(flags);
        }
        let mut any = false;
        loop {
            match self.peek().cloned() {
                Some(Token::Sign('.')) => flags = flags.with(Flags::ACK),
                Some(Token::Fraction(_)) => {
                    return Err(position.not_supported("the ACE counter of Accurate ECN"));
                }
                Some(Token::Name(letters)) => {
                    if letters.contains('A') {
                        return Err(position.not_supported("the AE flag of Accurate ECN"));
                    }
                    for letter in letters.chars() {
                        let known = Flags::LETTERS.iter().find(|(l, _)| *l == letter);
                        let Some((_, flag)) = known else {
                            return Err(position.invalid(format!("`{letters}` are not TCP flags")));
                        };
                        flags = flags.with(*flag);
                    }
                }
                _ if any => return Ok(flags),
                _ => return Err(self.unexpected("TCP flags")),
            }
            any = true;
            self.next += 1;
        }
    }

    /// `seq:end(length)`; gives the first and the last.
    pub(super) fn sequence_range(&mut self) -> Result<(u32, u32), Failure> {
        let position = self.position();
        let seq: u32 = self.integer()?;
        self.expect(':')?;
        let end: u32 = self.integer()?;
        self.expect('(')?;
        let length: u32 = self.integer()?;
        self.expect(')')?;
        if seq.wrapping_add(length) != end || length > 65_495 {
            let message = format!("{seq}:{end}({length}): the numbers do not fit together");
            return Err(position.invalid(message));
        }
        Ok((seq, length))
    }

    fn icmp(&mut self, peer: u16) -> Result<Icmp, Failure> {
        let position = self.position();
        let kind_name = self.name()?;
        let code_name = match self.peek() {
            Some(Token::Name(_)) => self.name()?,
            _ => String::new(),
        };
        let (kind, code) = icmp_type(&kind_name, &code_name).ok_or_else(|| {
            position.not_supported(format!("ICMP `{}`", format!("{kind_name} {code_name}").trim()))
        })?;
        let mut mtu = if self.accept_word("mtu") { self.integer()? } else { 0 };
        let (mut seq, mut length) = (0, 0);
        let place = self.position();
        if self.accept('[') {
            if matches!(self.peek(), Some(Token::Name(_))) {
                return Err(place.not_supported("an ICMP error that quotes no TCP segment"));
            }
            (seq, length) = self.sequence_range()?;
            self.expect(']')?;
        }
        if self.accept_word("mtu") {
            mtu = self.integer()?;
        }
        Ok(Icmp { peer, kind, code, mtu, seq, length })
    }
}

/// packetdrill's names for ICMP types and codes: names, or `type_N` and `code_N`.
fn icmp_type(kind: &str, code: &str) -> Option<(u8, u8)> {
    const UNREACHABLE: &[(&str, u8)] = &[
        ("net_unreachable", 0),
        ("host_unreachable", 1),
        ("protocol_unreachable", 2),
        ("port_unreachable", 3),
        ("frag_needed", 4),
        ("source_route_failed", 5),
        ("net_unknown", 6),
        ("host_unknown", 7),
        ("source_host_isolated", 8),
        ("net_prohibited", 9),
        ("host_prohibited", 10),
        ("net_unreachable_for_tos", 11),
        ("host_unreachable_for_tos", 12),
        ("packet_filtered", 13),
        ("precedence_violation", 14),
        ("precedence_cutoff", 15),
    ];
    let numbered = |text: &str, prefix: &str| text.strip_prefix(prefix)?.parse().ok();
    let type_number = match kind {
        "unreachable" => 3,
        "source_quench" => 4,
        "time_exceeded" => 11,
        "parameter_problem" => 12,
        _ => numbered(kind, "type_")?,
    };
    let code_number = match code {
        "" | "ttl_exceeded" => 0,
        _ if type_number == 3 && UNREACHABLE.iter().any(|(name, _)| *name == code) => {
            UNREACHABLE.iter().find(|(name, _)| *name == code)?.1
        }
        _ => numbered(code, "code_")?,
    };
    Some((type_number, code_number))
}
