//! Packets out of a hex dump in text: `hexdump -C`, Go's `hex.Dump`, `xxd`, `tcpdump -x`, or bare
//! bytes.
//!
//! An offset of zero begins a packet, and so does an empty line before one without offsets.

use anyhow::bail;

/// The longest packet that a dump may hold.
const LONGEST: usize = wire::frame::MAX_FRAME;

/// The packets of a dump.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    // The line before was `*`: its bytes are repeated up to the next offset.
    let mut repeat = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('|').next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("```") {
            open = false;
            continue;
        }
        if line == "*" {
            repeat = true;
            continue;
        }
        let (offset, rest) = split_offset(line);
        let bytes = match bytes_of(rest, offset.is_some()) {
            Ok(bytes) => bytes,
            // tcpdump's line about the packet stands above its bytes.
            Err(_) if offset.is_none() && !open && is_prose(line) => continue,
            Err(word) => bail!("line {number}: '{word}' is no byte in hexadecimal"),
        };
        match (offset, packets.last_mut()) {
            (Some(0), _) | (_, None) => packets.push(bytes),
            (None, Some(_)) if !open => packets.push(bytes),
            (offset, Some(packet)) => {
                if let Some(offset) = offset {
                    fill_to(packet, offset, repeat, number)?;
                }
                packet.extend(bytes);
            }
        }
        if packets.last().is_some_and(|packet| packet.len() > LONGEST) {
            bail!("line {number}: a packet of more than {LONGEST} bytes");
        }
        open = true;
        repeat = false;
    }
    packets.retain(|packet| !packet.is_empty());
    Ok(packets)
}

/// The offset in front of a line, if there is one: at least four digits and a colon, or eight
/// digits.
fn split_offset(line: &str) -> (Option<usize>, &str) {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (digits, colon) = match first.strip_suffix(':') {
        Some(digits) => (digits, true),
        None => (first, false),
    };
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let is_offset = if colon { digits.len() >= 4 } else { digits.len() == 7 || digits.len() == 8 };
    match usize::from_str_radix(digits, 16) {
        // Eight digits without a colon may be bytes too, when nothing else on the line is.
        Ok(offset)
            if is_offset
                && (colon || rest.is_empty() || rest.starts_with([' ', '\t']) || offset == 0) =>
        {
            (Some(offset), rest)
        }
        _ => (None, line),
    }
}

/// The bytes of a line; with an offset, what follows two spaces behind them is text (`xxd`).
fn bytes_of(line: &str, may_have_text: bool) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut previous_end = 0;
    for (words, word) in line.split_whitespace().enumerate() {
        let start = previous_end + line[previous_end..].find(word).unwrap_or_default();
        let gap = line[previous_end..start].chars().count();
        previous_end = start + word.len();
        let text_begins = may_have_text && words >= 8 && gap >= 2;
        match decode(word) {
            Some(_) if text_begins && bytes.len() >= 16 => break,
            Some(decoded) => bytes.extend(decoded),
            None if may_have_text && !bytes.is_empty() && gap >= 2 => break,
            None => return Err(word.chars().take(20).collect()),
        }
    }
    Ok(bytes)
}

/// `45`, `4500`, `0x45` or `45,`: pairs of digits.
fn decode(word: &str) -> Option<Vec<u8>> {
    let word = word.trim_end_matches(',');
    let digits = word.strip_prefix("0x").unwrap_or(word).as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: &u8| char::from(*digit).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(nibble(&pair[0])? * 16 + nibble(&pair[1])?).ok())
        .collect()
}

/// Repeats the last sixteen bytes up to `offset` where the dump left them out.
fn fill_to(packet: &mut Vec<u8>, offset: usize, repeat: bool, line: usize) -> anyhow::Result<()> {
    if repeat && offset > packet.len() && offset <= LONGEST && packet.len() >= 16 {
        let last: Vec<u8> = packet[packet.len() - 16..].to_vec();
        while packet.len() < offset {
            packet.extend(&last[..16.min(offset - packet.len())]);
        }
    }
    if offset != packet.len() {
        bail!("line {line}: offset {offset:#x}, but {:#x} bytes stand before it", packet.len());
    }
    Ok(())
}

/// A line with a word that no hex dump has.
fn is_prose(line: &str) -> bool {
    line.split_whitespace()
        .any(|word| word.chars().any(|c| c.is_alphabetic() && !c.is_ascii_hexdigit()))
        && line.split_whitespace().count() > 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_that_people_have() {
        let expected = vec![(0..20).collect::<Vec<u8>>()];
        let forms = [
            "00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|\n\
             00000010  10 11 12 13                                       |....|\n00000014\n",
            "00000000: 0001 0203 0405 0607 0809 0a0b 0c0d 0e0f  ................\n\
             00000010: 1011 1213                                ....\n",
            "12:00:00.0 IP 10.0.0.1.1 > 10.0.0.2.2: Flags [S], length 0\n\
             \t0x0000:  0001 0203 0405 0607 0809 0a0b 0c0d 0e0f\n\t0x0010:  1011 1213\n",
            "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n10 11 12 13\n",
            "```\n000102030405060708090a0b0c0d0e0f10111213\n```\n",
            "0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, \
             0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13",
        ];
        for form in forms {
            assert_eq!(parse(form).unwrap(), expected, "{form}");
        }
    }

    #[test]
    fn repeated_lines_are_filled_in() {
        let text = "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n\
                    *\n00000030  01  |.|\n00000031\n";
        let packets = parse(text).unwrap();
        assert_eq!(packets[0].len(), 49);
        assert_eq!(packets[0][48], 1);
    }

    #[test]
    fn several_packets() {
        assert_eq!(parse("45 00\n\n46 00\n").unwrap(), [[0x45, 0], [0x46, 0]]);
        assert_eq!(parse("0000: 45 00\n0000: 46 00\n").unwrap(), [[0x45, 0], [0x46, 0]]);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(error("45 00\n4g 00\n"), "line 2: '4g' is no byte in hexadecimal");
        assert_eq!(
            error("00000000  45 00\n00000010  00\n"),
            "line 2: offset 0x10, but 0x2 bytes stand before it"
        );
    }
}
