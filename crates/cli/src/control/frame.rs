//! The frames in which the server speaks: a length of four bytes and so many bytes of output; a
//! length of zero, one byte of status, and a message up to the end.

use std::io::{self, Read, Write};

/// The longest piece of output in one frame.
pub(super) const LONGEST: usize = 64 * 1024;

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// The exit status for the client.
    pub(crate) status: u8,
    /// What went wrong; empty when nothing did.
    pub(crate) message: String,
}

/// Writes a piece of output.
pub(super) fn write(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(LONGEST) {
        let length = u32::try_from(piece.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        out.write_all(&length.to_be_bytes())?;
        out.write_all(piece)?;
    }
    Ok(())
}

/// Writes the end.
pub(super) fn finish(out: &mut impl Write, end: &End) -> io::Result<()> {
    out.write_all(&[0, 0, 0, 0, end.status])?;
    out.write_all(end.message.as_bytes())
}

/// Hands each piece of output to `show`, and returns how it ended.
pub(crate) fn read(
    from: &mut impl Read,
    mut show: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<End> {
    let mut piece = Vec::new();
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u64::from(u32::from_be_bytes(length));
        if length == 0 {
            let mut rest = Vec::new();
            from.take(1 + 64 * 1024).read_to_end(&mut rest)?;
            let (status, message) =
                rest.split_first().ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let message = String::from_utf8_lossy(message).into_owned();
            return Ok(End { status: *status, message });
        }
        piece.clear();
        if from.take(length).read_to_end(&mut piece)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        show(&piece)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        let long = vec![7; LONGEST + 1];
        write(&mut wire, b"hello").unwrap();
        write(&mut wire, &long).unwrap();
        let end = End { status: 1, message: "reset".into() };
        finish(&mut wire, &end).unwrap();
        let mut seen: Vec<u8> = Vec::new();
        let ended = read(&mut &wire[..], |piece| {
            seen.extend(piece);
            Ok(())
        });
        assert_eq!(ended.unwrap(), end);
        assert_eq!(seen, [b"hello", &long[..]].concat());
        for cut in 0..wire.len() - "reset".len() {
            assert!(read(&mut &wire[..cut], |_| Ok(())).is_err());
        }
    }
}
