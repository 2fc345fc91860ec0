//! Replies in RESP2, read from the bytes that have come so far.

use redis::Value;

/// Deepest nesting of a reply: those of the scripts have three levels.
const DEPTH: usize = 8;

/// The bytes are not a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first line of a reply: its kind, its content, and its length with the line end.
struct Line<'a> {
    kind: u8,
    content: &'a [u8],
    len: usize,
}

fn line(bytes: &[u8]) -> Result<Option<Line<'_>>, Malformed> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let content = bytes.get(1..end.saturating_sub(1)).filter(|_| end > 1).ok_or(Malformed)?;
    Ok(Some(Line { kind: bytes[0], content, len: end + 1 }))
}

fn number(content: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(content).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

/// Reads the length of a string or an array; `None` for nil.
fn length(content: &[u8]) -> Result<Option<usize>, Malformed> {
    match number(content)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed),
    }
}

/// Returns the reply at the beginning of `bytes`, and its length; `None` if there is more to come.
/// An error of Redis is a value, too.
///
/// # Errors
///
/// If the bytes are not a reply.
pub(super) fn reply(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
    nested(bytes, DEPTH)
}

fn nested(bytes: &[u8], depth: usize) -> Result<Option<(Value, usize)>, Malformed> {
    let Some(Line { kind, content, len }) = line(bytes)? else { return Ok(None) };
    let value = match kind {
        b':' => Value::Int(number(content)?),
        b'+' if content == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(String::from_utf8_lossy(content).into_owned()),
        b'-' => redis::parse_redis_value(&bytes[..len]).map_err(|_| Malformed)?,
        b'$' => {
            let Some(size) = length(content)? else { return Ok(Some((Value::Nil, len))) };
            let end = len.checked_add(size).ok_or(Malformed)?;
            let Some(rest) = bytes.get(end..end + 2) else { return Ok(None) };
            if rest != b"\r\n" {
                return Err(Malformed);
            }
            return Ok(Some((Value::BulkString(bytes[len..end].to_vec()), end + 2)));
        }
        b'*' => {
            let Some(count) = length(content)? else { return Ok(Some((Value::Nil, len))) };
            let (mut values, mut at) = (Vec::new(), len);
            for _ in 0..count {
                let inner = depth.checked_sub(1).ok_or(Malformed)?;
                let Some((value, len)) = nested(&bytes[at..], inner)? else { return Ok(None) };
                values.push(value);
                at += len;
            }
            return Ok(Some((Value::Array(values), at)));
        }
        _ => return Err(Malformed),
    };
    Ok(Some((value, len)))
}

/// The beginning of a reply that is a string, nil or an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A string of this size begins after so many bytes.
    String { size: usize, at: usize },
    /// Another reply: it is read whole.
    Other,
}

/// Returns the beginning of the next reply; `None` if there is more to come.
///
/// # Errors
///
/// If the bytes are not a reply.
pub(super) fn head(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some(Line { kind, content, len }) = line(bytes)? else { return Ok(None) };
    Ok(Some(match (kind, length(content)) {
        (b'$', Ok(Some(size))) => Head::String { size, at: len },
        _ => Head::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Value {
        let (value, len) = reply(text.as_bytes()).unwrap().unwrap();
        assert_eq!(len, text.len());
        value
    }

    #[test]
    fn replies_are_read_as_the_driver_reads_them() {
        for text in [
            ":-7\r\n",
            "+OK\r\n",
            "+PONG\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$5\r\na\r\nbc\r\n",
            "*0\r\n",
            "*3\r\n:1\r\n$1\r\nx\r\n*2\r\n$-1\r\n+a\r\n",
            "-ERR no\r\n",
            "-NOSCRIPT No matching script.\r\n",
        ] {
            assert_eq!(whole(text), redis::parse_redis_value(text.as_bytes()).unwrap(), "{text}");
        }
    }

    #[test]
    fn part_of_a_reply_is_not_read_yet() {
        let text = b"*3\r\n:1\r\n$4\r\nx\r\ny\r\n*2\r\n$-1\r\n+a\r\n";
        for len in 0..text.len() {
            assert_eq!(reply(&text[..len]), Ok(None), "{len}");
        }
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        let nested = "*1\r\n".repeat(100) + ":1\r\n";
        for text in
            ["?\r\n", ":x\r\n", "$-2\r\n", "$1\r\nxyz", "\n", "$99999999999999999999\r\n", &nested]
        {
            assert_eq!(reply(text.as_bytes()), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn head_tells_the_size_of_a_string_before_it_has_come() {
        assert_eq!(head(b"$70000\r\nab"), Ok(Some(Head::String { size: 70_000, at: 8 })));
        assert_eq!(head(b"$-1\r\n"), Ok(Some(Head::Other)));
        assert_eq!(head(b"-ERR no\r\n"), Ok(Some(Head::Other)));
        assert_eq!(head(b"$70"), Ok(None));
    }
}
