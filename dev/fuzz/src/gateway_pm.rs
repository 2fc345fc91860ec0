//! The bytes of a link of Pipeline Manager.
//!
//! - Frames are the same wherever the stream is cut.
//! - A call's data, session and id that are written again read the same; so does an answer.
//! - Written frames are frames, and never a message at which a peer's library ends.

use redcall_gateway::fuzzing::pm::{Answer, Call, Frames, Id, Incoming, Writer, read};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

/// The largest frame, bytes.
const MAX: usize = 1 << 12;
const DEPTH: usize = 64;

/// Reads everything in `input` after its first byte, which is where the stream is cut.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let whole = frames(&[stream]);
    let (start, end) = stream.split_at(stream.len() * usize::from(*cut) / 256);
    assert_eq!(frames(&[start, end]), whole);
    for frame in whole.0 {
        message(&frame);
    }
    // Frames are rare in random bytes: the same bytes as one message.
    message(stream);
}

/// Returns the frames, and the error after them.
fn frames(parts: &[&[u8]]) -> (Vec<Bytes>, Option<String>) {
    let (mut decoder, mut bytes, mut frames) = (Frames::new(MAX), BytesMut::new(), Vec::new());
    for part in parts {
        bytes.extend_from_slice(part);
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

fn message(frame: &[u8]) {
    let Ok(message) = read(frame, DEPTH) else { return };
    for writer in [Writer::Application, Writer::Server] {
        match &message {
            Incoming::Request(id, call) => {
                answered(writer, id, call);
                check_call(writer, call);
            }
            Incoming::Notification(call) => check_call(writer, call),
            Incoming::Answer(Answer { result: Ok(data), .. }) => {
                let call = Call { method: "x".to_owned(), sid: None, data: data.clone() };
                check_call(writer, &call);
            }
            Incoming::Answer(_) => {}
        }
    }
}

/// Takes the message out of a written frame.
fn written(frame: &Bytes) -> Incoming {
    let (frames, error) = frames_of_any_size(frame);
    assert!(error.is_none() && frames.len() == 1, "{frame:?}");
    read(&frames[0], DEPTH).unwrap_or_else(|refusal| panic!("{refusal}: {frame:?}"))
}

fn frames_of_any_size(frame: &Bytes) -> (Vec<Bytes>, Option<String>) {
    let mut bytes = BytesMut::from(&frame[..]);
    match Frames::new(usize::MAX).decode(&mut bytes) {
        Ok(Some(read)) if bytes.is_empty() => (vec![read], None),
        other => (Vec::new(), Some(format!("{other:?}"))),
    }
}

fn answered(writer: Writer, id: &Id, call: &Call) {
    let sid = call.sid.as_deref().unwrap_or("S");
    match written(&writer.result(id, Some(sid), call.data.get())) {
        Incoming::Answer(Answer { id: own, has_session: true, result: Ok(data) }) => {
            assert_eq!((own, data.get()), (id.json().parse().ok(), call.data.get()));
        }
        other => panic!("{other:?}"),
    }
    match written(&writer.error(Some(id), Some(sid), -1, &call.method)) {
        Incoming::Answer(Answer { result: Err(error), .. }) => {
            assert_eq!((error.code, error.message), (-1, call.method.clone()));
        }
        other => panic!("{other:?}"),
    }
}

fn check_call(writer: Writer, call: &Call) {
    let sid = call.sid.as_deref().unwrap_or("S");
    match written(&writer.request(1, &call.method, sid, &call.data)) {
        Incoming::Request(id, again) => {
            assert_eq!((id.json(), again.sid.as_deref()), ("1", Some(sid)));
            let data = if call.data.get() == "null" { "{}" } else { call.data.get() };
            assert_eq!((again.method.as_str(), again.data.get()), (call.method.as_str(), data));
        }
        other => panic!("{other:?}"),
    }
}
