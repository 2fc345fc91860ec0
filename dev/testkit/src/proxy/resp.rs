//! Finds the ends of messages of Redis's protocol, in both of its versions, without reading their
//! content.

/// How many bytes the first message of `bytes` has; `None` while it is not whole.
pub(super) fn end_of(bytes: &[u8]) -> Option<usize> {
    // How many values are still to come; those within others count as well.
    let (mut at, mut missing) = (0, 1_usize);
    while missing > 0 {
        let line = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let (kind, number) = (bytes.get(at)?, number(&bytes[at + 1..line]));
        at = line + 2;
        missing -= 1;
        match kind {
            b'$' | b'!' | b'=' => {
                // None has the length -1.
                at += number.map_or(0, |length| length + 2);
                if bytes.len() < at {
                    return None;
                }
            }
            b'*' | b'~' | b'>' => missing += number.unwrap_or(0),
            b'%' => missing += 2 * number.unwrap_or(0),
            // Attributes precede their value.
            b'|' => missing += 2 * number.unwrap_or(0) + 1,
            // Everything else, a command typed by hand too, is one line.
            _ => {}
        }
    }
    Some(at)
}

fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Returns `true` if it is an unrequested message of Redis.
pub(super) fn is_push(message: &[u8]) -> bool {
    message.first() == Some(&b'>')
}

/// Returns `true` if a request is answered by a push alone.
pub(super) fn is_subscription(request: &[u8]) -> bool {
    let name = request.split(|byte| *byte == b'\n').nth(2).unwrap_or_default();
    let name = name.trim_ascii().to_ascii_lowercase();
    name.ends_with(b"subscribe")
}

/// Returns `true` if a request suppresses the reply to itself and to the next one.
pub(super) fn is_skip(request: &[u8]) -> bool {
    request == b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_last_value_does() {
        for message in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":1\r\n",
            "_\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$4\r\na\r\nb\r\n",
            "*0\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            "%1\r\n+a\r\n~2\r\n:1\r\n#t\r\n",
            "|1\r\n+ttl\r\n:1\r\n$1\r\na\r\n",
            ">2\r\n+message\r\n=5\r\ntxt:a\r\n",
            "PING\r\n",
        ] {
            let whole = message.as_bytes();
            for end in 0..whole.len() {
                assert_eq!(end_of(&whole[..end]), None, "{message:?} up to {end}");
            }
            let followed = [whole, b"+OK\r\n"].concat();
            assert_eq!(end_of(&followed), Some(whole.len()), "{message:?}");
        }
    }

    #[test]
    fn subscriptions_are_known_by_their_name() {
        for name in ["SSUBSCRIBE", "unsubscribe", "PSUBSCRIBE"] {
            let request = format!("*2\r\n${}\r\n{name}\r\n$1\r\na\r\n", name.len());
            assert!(is_subscription(request.as_bytes()), "{name}");
        }
        assert!(!is_subscription(b"*2\r\n$3\r\nGET\r\n$9\r\nsubscribe\r\n"));
        assert!(!is_subscription(b"PING\r\n"));
    }
}
