//! The head of a frame: flags and length.

use crate::zmtp::wire::violation::Violation;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A longer body has a length of 8 bytes.
const LONGEST_SHORT: usize = 255;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// `true` for a command, `false` for a part of a message.
    pub command: bool,
    /// `true` if the message has another frame.
    pub more: bool,
    /// Length of the head, bytes.
    pub head: usize,
    /// Length of the body, bytes, as announced.
    pub body: u64,
}

impl Head {
    /// Reads the head at the beginning of `bytes`; `None` if it has not arrived completely.
    ///
    /// # Errors
    ///
    /// [`Violation::Flags`].
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let Some(&flags) = bytes.first() else { return Ok(None) };
        let command = flags & COMMAND != 0;
        let more = flags & MORE != 0;
        if flags & !(MORE | LONG | COMMAND) != 0 || (command && more) {
            return Err(Violation::Flags(flags));
        }
        let (head, body) = if flags & LONG == 0 {
            (2, bytes.get(1).map(|length| u64::from(*length)))
        } else {
            let length = bytes.get(1..9).and_then(|length| length.try_into().ok());
            (9, length.map(u64::from_be_bytes))
        };
        Ok(body.map(|body| Self { command, more, head, body }))
    }

    /// Appends the head of a frame with a body of `body` bytes.
    pub fn write(out: &mut Vec<u8>, command: bool, more: bool, body: usize) {
        let flags = if command { COMMAND } else { 0 } | if more { MORE } else { 0 };
        match u8::try_from(body) {
            Ok(length) if body <= LONGEST_SHORT => out.extend([flags, length]),
            _ => {
                out.push(flags | LONG);
                out.extend((body as u64).to_be_bytes());
            }
        }
    }
}
