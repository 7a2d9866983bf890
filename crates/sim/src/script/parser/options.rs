//! TCP options: `<mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>`.

use super::Parser;
use crate::script::Failure;
use crate::script::lexer::Token;
use crate::segment::TcpOption;

/// TCP Fast Open (RFC 7413 4.1.1).
pub(in crate::script) const FAST_OPEN: u8 = 34;
/// Options of experiments, told apart by two bytes (RFC 6994).
pub(in crate::script) const EXPERIMENT: u8 = 254;
/// TCP MD5 signatures (RFC 2385).
pub(in crate::script) const MD5: u8 = 19;
/// Accurate ECN, in its two orders.
pub(in crate::script) const ACCURATE_ECN: [u8; 2] = [172, 174];

/// The two bytes of Fast Open's experiment (RFC 7413 appendix A).
const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];

impl Parser {
    /// The options after `<`; `None` for "any".
    pub(super) fn options(&mut self) -> Result<Option<Vec<TcpOption>>, Failure> {
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
            "TS" => self.timestamps()?,
            "FO" => raw(FAST_OPEN, self.hex_blob()?),
            "FOEXP" => {
                let cookie = self.hex_blob()?;
                raw(EXPERIMENT, [&FAST_OPEN_EXPERIMENT[..], &cookie].concat())
            }
            "md5" => raw(MD5, self.hex_blob()?),
            "ECN" => self.accurate_ecn()?,
            "raw" => {
                let kind = self.integer()?;
                let length: u8 = self.integer()?;
                let data = vec![0; usize::from(length).saturating_sub(2).min(38)];
                TcpOption::Raw { kind, length, data }
            }
            _ => return Err(position.invalid(format!("`{name}` is no TCP option"))),
        })
    }

    fn timestamps(&mut self) -> Result<TcpOption, Failure> {
        if !self.accept_word("val") {
            return Err(self.unexpected("`val`"));
        }
        let value = self.integer()?;
        if !self.accept_word("ecr") {
            return Err(self.unexpected("`ecr`"));
        }
        Ok(TcpOption::Timestamps { value, echo: self.integer()? })
    }

    fn sack_blocks(&mut self) -> Result<Vec<(u32, u32)>, Failure> {
        let mut blocks = Vec::new();
        while matches!(self.peek(), Some(Token::Integer(_))) {
            let left = self.integer()?;
            self.expect(':')?;
            blocks.push((left, self.integer()?));
        }
        if blocks.is_empty() || blocks.len() > 4 {
            return Err(self.position().invalid("a SACK option has one to four blocks"));
        }
        Ok(blocks)
    }

    /// Bytes as hexadecimal digits; none when no word follows.
    fn hex_blob(&mut self) -> Result<Vec<u8>, Failure> {
        let position = self.position();
        let digits = match self.peek() {
            Some(Token::Name(word)) => word.clone(),
            Some(Token::Integer(number)) => number.to_string(),
            _ => return Ok(Vec::new()),
        };
        self.next += 1;
        let wrong = || position.invalid(format!("`{digits}` is no row of hexadecimal bytes"));
        if digits.len() > 76 || digits.len() % 2 != 0 || !digits.is_ascii() {
            return Err(wrong());
        }
        let pairs = (0..digits.len()).step_by(2).map(|at| digits.get(at..at + 2));
        pairs
            .map(|pair| u8::from_str_radix(pair.unwrap_or_default(), 16).map_err(|_| wrong()))
            .collect()
    }

    /// `ECN e0b 1 ceb 2 e1b 3`: 24-bit counters, in one of two orders.
    fn accurate_ecn(&mut self) -> Result<TcpOption, Failure> {
        let mut kind = ACCURATE_ECN[0];
        let mut data = Vec::new();
        while let Some(Token::Name(counter)) = self.peek() {
            if !matches!(counter.as_str(), "e0b" | "ceb" | "e1b") || data.len() >= 9 {
                return Err(self.unexpected("`e0b`, `ceb` or `e1b`"));
            }
            if data.is_empty() && counter == "e1b" {
                kind = ACCURATE_ECN[1];
            }
            self.next += 1;
            data.extend(&self.integer::<u32>()?.to_be_bytes()[1..]);
        }
        Ok(raw(kind, data))
    }
}

fn raw(kind: u8, data: Vec<u8>) -> TcpOption {
    let length = u8::try_from(data.len() + 2).unwrap_or(u8::MAX);
    TcpOption::Raw { kind, length, data }
}
