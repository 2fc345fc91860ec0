//! The bytes of a bgpy client, as a gateway reads them.
//!
//! - The frames do not depend on how the bytes arrive.
//! - No frame is larger than the limit.
//! - Arguments that are accepted are written as an answer, which reads as the same arguments.

use redcall_gateway::fuzzing::bgpy::framing::{Frames, frame};
use redcall_gateway::fuzzing::bgpy::message::{Message, Outcome, message, token, write};
use redcall_gateway::pickle::{Bounds, Classes, read_objects};
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder as _;

/// Smaller than in earnest, so that inputs of a few hundred bytes meet them.
const BOUNDS: Bounds = Bounds { bytes: 1200, depth: 6 };

const CLASSES: Classes = Classes {
    object: ("bgpy.core.message", "Message"),
    member: ("bgpy.core.message", "MessageType"),
    highest: 5,
};

/// Reads the bytes of a connection.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(raw: &[u8]) {
    let whole = frames(&[raw]);
    let halves = raw.split_at(raw.len() / 2);
    assert_eq!(frames(&[halves.0, halves.1]), whole);
    for pickle in &whole {
        assert!(pickle.len() <= BOUNDS.bytes);
        check_message(pickle);
    }
    // Base64 is hard to reach by chance.
    check_message(raw);
}

/// Returns the pickles up to the first frame that is refused.
fn frames(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut frames = Frames::up_to(BOUNDS.bytes);
    let (mut bytes, mut found) = (BytesMut::new(), Vec::new());
    for part in parts {
        bytes.extend_from_slice(part);
        loop {
            match frames.decode(&mut bytes) {
                Ok(Some(pickle)) => found.push(pickle),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

fn check_message(pickle: &[u8]) {
    let _ = token(pickle);
    let Ok(Message::Call(call)) = message(pickle, &BOUNDS) else { return };
    let Ok(args) = call.args else { return };
    let written = write(Outcome::Ok, &args).unwrap_or_else(|refused| panic!("{args}: {refused}"));
    let mut framed = BytesMut::from(&*frame(&written));
    let read = Frames::up_to(1 << 20).decode(&mut framed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.as_ref(), Some(&written));
    let bounds = Bounds { bytes: 1 << 20, ..BOUNDS };
    let document = read_objects(&written, &bounds, &CLASSES);
    let document = document.unwrap_or_else(|refused| panic!("{args}: {refused}"));
    let state = document.root().state();
    let again = state.and_then(|state| state.get("args")).map(|args| args.json());
    assert_eq!(again, Some(Ok(args.get().to_owned())));
}
