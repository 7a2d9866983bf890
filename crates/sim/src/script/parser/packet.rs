//! Packets:
//!
//! ```text
//! packet  = ( "<" | ">" ) [ "peer" "(" n ")" ] [ "[" ecn "]" ] ( segment | icmp )
//! segment = flags seq ":" end "(" length ")" [ "ack" n ] [ "win" n ] [ "urg" n ]
//!           [ "bad_checksum" ] [ "<" ( "..." | option { "," option } ) ">" ]
//! icmp    = "icmp" type code [ "mtu" n ] "[" seq ":" end "(" length ")" "]"
//! ```
//! `peer`, `urg`, `bad_checksum` and the option `raw KIND LENGTH` are our own; everything else is
//! packetdrill's.

use super::Parser;
use crate::script::Failure;
use crate::script::ast::{Action, Icmp, Packet};
use crate::script::lexer::Token;
use crate::segment::{Flags, TcpOption};

impl Parser {
    pub(super) fn packet(&mut self) -> Result<Action, Failure> {
        let arrives = self.accept('<');
        if !arrives {
            self.expect('>')?;
        }
        let peer = self.peer()?;
        if self.accept_word("icmp") {
            if !arrives {
                return Err(self.position().failure("an ICMP packet out is not supported"));
            }
            return self.icmp(peer).map(Action::Icmp);
        }
        let packet = self.segment(peer)?;
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
        let ecn = self.ecn()?;
        let flags = self.flags()?;
        let (seq, length) = self.sequence_range()?;
        let mut packet = Packet {
            peer,
            ecn,
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
        if packet.ack.is_some() != flags.has(Flags::ACK) {
            return Err(self.position().failure("`ack` and the flag `.` belong together"));
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

    fn ecn(&mut self) -> Result<Option<u8>, Failure> {
        if !self.accept('[') {
            return Ok(None);
        }
        let position = self.position();
        let ecn = match self.name()?.as_str() {
            "noecn" => 0,
            "ect1" => 1,
            "ect0" => 2,
            "ce" => 3,
            other => return Err(position.failure(format!("`[{other}]` is not supported"))),
        };
        self.expect(']')?;
        Ok(Some(ecn))
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
                Some(Token::Name(letters)) => {
                    if matches!(
                        letters.as_str(),
                        "udp" | "icmpv6" | "ipv4" | "ipv6" | "gre" | "mpls"
                    ) {
                        return Err(
                            position.failure(format!("`{letters}` packets are not supported"))
                        );
                    }
                    for letter in letters.chars() {
                        let known = Flags::LETTERS.iter().find(|(l, _)| *l == letter);
                        let Some((_, flag)) = known else {
                            return Err(position.failure(format!("`{letters}` are not TCP flags")));
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
    fn sequence_range(&mut self) -> Result<(u32, u32), Failure> {
        let position = self.position();
        let seq: u32 = self.integer()?;
        self.expect(':')?;
        let end: u32 = self.integer()?;
        self.expect('(')?;
        let length: u32 = self.integer()?;
        self.expect(')')?;
        if seq.wrapping_add(length) != end || length > 65_495 {
            let message = format!("{seq}:{end}({length}): the numbers do not fit together");
            return Err(position.failure(message));
        }
        Ok((seq, length))
    }

    /// The options after `<`; `None` for "any".
    fn options(&mut self) -> Result<Option<Vec<TcpOption>>, Failure> {
        if self.peek() == Some(&Token::Ellipsis) {
            self.next += 1;
            self.expect('>')?;
            return Ok(None);
        }
        let mut options = Vec::new();
        while !self.accept('>') {
            if !options.is_empty() {
                self.expect(',')?;
            }
            options.push(self.option()?);
        }
        Ok(Some(options))
    }

    fn option(&mut self) -> Result<TcpOption, Failure> {
        let position = self.position();
        let name = self.name()?;
        Ok(match name.as_str() {
            "nop" => TcpOption::Nop,
            "eol" => TcpOption::End,
            "mss" => TcpOption::Mss(self.integer()?),
            "wscale" => TcpOption::WindowScale(self.integer()?),
            "sackOK" => TcpOption::SackPermitted,
            "sack" => TcpOption::Sack(self.sack_blocks()?),
            "TS" => {
                if !self.accept_word("val") {
                    return Err(self.unexpected("`val`"));
                }
                let value = self.integer()?;
                if !self.accept_word("ecr") {
                    return Err(self.unexpected("`ecr`"));
                }
                TcpOption::Timestamps { value, echo: self.integer()? }
            }
            "raw" => {
                let kind = self.integer()?;
                let length: u8 = self.integer()?;
                let data = vec![0; usize::from(length).saturating_sub(2).min(38)];
                TcpOption::Raw { kind, length, data }
            }
            _ => return Err(position.failure(format!("TCP option `{name}` is not supported"))),
        })
    }

    fn sack_blocks(&mut self) -> Result<Vec<(u32, u32)>, Failure> {
        let mut blocks = Vec::new();
        while matches!(self.peek(), Some(Token::Integer(_))) {
            let left = self.integer()?;
            self.expect(':')?;
            blocks.push((left, self.integer()?));
        }
        if blocks.is_empty() || blocks.len() > 4 {
            return Err(self.position().failure("a SACK option has one to four blocks"));
        }
        Ok(blocks)
    }

    fn icmp(&mut self, peer: u16) -> Result<Icmp, Failure> {
        let position = self.position();
        let kind_name = self.name()?;
        let code_name = match self.peek() {
            Some(Token::Name(_)) => self.name()?,
            _ => String::new(),
        };
        let (kind, code) = icmp_type(&kind_name, &code_name).ok_or_else(|| {
            position.failure(format!("ICMP `{kind_name} {code_name}` is not supported"))
        })?;
        let mtu = if self.accept_word("mtu") { self.integer()? } else { 0 };
        self.expect('[')?;
        let (seq, length) = self.sequence_range()?;
        self.expect(']')?;
        Ok(Icmp { peer, kind, code, mtu, seq, length })
    }
}

/// packetdrill's names for ICMP types and codes.
fn icmp_type(kind: &str, code: &str) -> Option<(u8, u8)> {
    Some(match (kind, code) {
        ("unreachable", "net_unreachable") => (3, 0),
        ("unreachable", "host_unreachable") => (3, 1),
        ("unreachable", "protocol_unreachable") => (3, 2),
        ("unreachable", "port_unreachable") => (3, 3),
        ("unreachable", "frag_needed") => (3, 4),
        ("unreachable", "source_route_failed") => (3, 5),
        ("unreachable", "net_prohibited") => (3, 9),
        ("unreachable", "host_prohibited") => (3, 10),
        ("unreachable", "packet_filtered") => (3, 13),
        ("source_quench", "") => (4, 0),
        ("time_exceeded", "" | "ttl_exceeded") => (11, 0),
        ("parameter_problem", "") => (12, 0),
        _ => return None,
    })
}
