//! The messages that a client receives about a request: announcements, and elements of its response
//! key. One of them per line.
//!
//! - A waiting caller gets the first final frame of its request, and none of another request.
//! - A follower gets frames in order, without gaps or duplicates, and none after the end.
//! - Waiting ends with a final frame that misses nothing.
//! - A frame that is read and written again reads the same.

use redcall_client::fuzzing::{frame, receive, response};
use redcall_common::frame::{Frame, FrameType};
use redcall_common::frame_head::FrameHead;

const ID: &str = "x1";
const KEY: &str = "redcall:{q}:response:x1";

/// Receives everything in `input`.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(input: &[u8]) {
    let pieces = || input.split(|byte| *byte == b'\n');
    let received = receive(ID, pieces());
    if let Some(end) = &received.end {
        assert!(end.id == ID && end.kind.ends(), "{end:?}");
        // As a program sees it: an answer or an error, by the type alone.
        let seen = response(end.clone(), KEY);
        assert_eq!(seen.is_ok(), end.kind == FrameType::Result);
        assert!(seen.is_ok_and(|seen| seen.id == ID) || end.kind == FrameType::Error);
    }
    followed(&received.followed);
    // A caller receives the end whatever is missing, a follower only after all earlier frames.
    let is_ended = received.followed.last().is_some_and(|frame| frame.kind.ends());
    assert!(!is_ended || received.end.is_some(), "only a follower has received the end");
    assert_eq!(received.waiting, received.end.is_none() || !is_ended);

    for piece in pieces() {
        if let Some(frame) = frame(piece) {
            written_again(&frame);
        }
    }
}

fn followed(frames: &[Frame]) {
    let (mut attempt, mut next) = (1, 1);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.id, ID);
        let is_last = index + 1 == frames.len();
        assert!(is_last || !frame.kind.ends(), "a frame after the end: {frames:?}");
        if frame.attempt > attempt {
            (attempt, next) = (frame.attempt, 1);
        }
        // A final frame is valid at any position: its number is 0 if frames were not counted, or it
        // belongs to a run before the last known one.
        let in_place = frame.attempt == attempt && frame.seq == next;
        let early = frame.seq <= next || frame.attempt < attempt;
        let uncounted = early && (frame.seq == 0 || frame.kind.ends());
        assert!(in_place || uncounted, "{frame:?} at {attempt}, {next}");
        next = frame.seq + 1;
    }
}

fn written_again(frame: &Frame) {
    let (id, attempt) = (&frame.id, frame.attempt);
    let head = FrameHead { id, response_key: KEY, attempt, signer: None };
    let data = frame.data.as_deref();
    let written = match (&frame.error, &frame.deferral, data) {
        (Some(error), ..) if frame.kind == FrameType::Error => head.error(frame.seq, error),
        (_, Some(deferral), Some(data)) => head.deferred(frame.seq, **deferral, data),
        _ => head.data(frame.kind, frame.seq, data),
    };
    let again = self::frame(written.as_bytes());
    let again = again.unwrap_or_else(|| panic!("{written} is not a frame"));
    assert_eq!(shown(&again), shown(frame));
}

/// Every field that is written, but for the signature: an error only in an `error` frame, data in
/// all others; how the answer ends, in a `deferred` frame with data.
fn shown(frame: &Frame) -> String {
    let Frame { id, kind, seq, attempt, deferral, data, error, auth: _ } = frame;
    let error = error.as_ref().filter(|_| *kind == FrameType::Error);
    let data = data.as_ref().filter(|_| error.is_none());
    let deferral = deferral.as_deref().filter(|_| data.is_some());
    let deferral = deferral.copied().unwrap_or_default();
    format!("{id:?} {kind:?} {seq} {attempt} {deferral:?} {data:?} {error:?}")
}
