//! The reading of frames, for `dev/fuzz/`: what lies at a response key, and what is announced, can be
//! written by anybody who reaches Redis.
//!
//! Not a part of the crate's interface. It is here because `in_flight` and `replies` are private; and
//! it is always compiled, so that lints and tests see the fuzz targets without the flags of a
//! fuzzing build.

use std::sync::Arc;

use redcall_common::frame::Frame;
use redcall_common::keys::Keys;
use tokio::sync::mpsc;

use crate::cancel::Origin;
use crate::error::CallError;
use crate::in_flight::{InFlight, Stage};
use crate::replies;
use crate::response::Response;

/// What was heard of one request.
#[derive(Debug)]
pub struct Heard {
    /// What who waits for the end got; `None`: he waits on.
    pub end: Option<Frame>,
    /// What who follows got, in order.
    pub followed: Vec<Frame>,
    /// Whether anybody still waits.
    pub waiting: bool,
}

/// Somebody waits for request `id`, somebody else follows it. Each of `pieces` is an announcement
/// if it begins with `[`, else an element of the response key.
#[must_use]
pub fn hear<'a>(id: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Heard {
    let queue = Arc::new(Keys::new("redcall").of("q"));
    let key = queue.response(id);
    let origin = Origin { keys: queue, record: None, deadline: None };
    let (in_flight, _withdrawn) = InFlight::new();
    let (reread, _wanted) = mpsc::unbounded_channel();
    let (_waits, mut end) = in_flight.wait_for(id, &key, Stage::Sent, None);
    let (_follows, mut frames) = in_flight.follow(id, &key, origin);
    for piece in pieces {
        if piece.first() == Some(&b'[') {
            replies::on_announcement(piece, &in_flight, &reread);
        } else {
            in_flight.deliver(replies::parse(piece).into_iter());
        }
    }
    let followed = std::iter::from_fn(|| frames.try_next()?.ok()).collect();
    Heard {
        end: end.try_recv().ok().and_then(Result::ok),
        followed,
        waiting: in_flight.is_waiting(id),
    }
}

/// Reads an element of a response key.
#[must_use]
pub fn frame(raw: &[u8]) -> Option<Frame> {
    replies::parse(raw)
}

/// What an ending frame gives to the caller.
///
/// # Errors
///
/// What the frame says.
pub fn response(frame: Frame, response_key: &str) -> Result<Response, CallError> {
    Response::from_frame(frame, response_key.to_owned())
}
