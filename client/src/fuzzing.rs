//! Reading of frames, for `dev/fuzz/`: any program with access to Redis can write a response key or
//! an announcement.
//!
//! Not part of the public API. It is here because `in_flight` and `replies` are private. It is
//! always compiled, so that lints and tests cover the fuzz targets without a fuzzing build.

use std::sync::Arc;

use redcall_common::frame::Frame;
use redcall_common::keys::Keys;
use tokio::sync::mpsc;

use crate::engine::deliveries::Deliveries;
use crate::engine::in_flight::{InFlight, Stage};
use crate::engine::replies;
use crate::engine::withdrawal::Origin;
use crate::error::CallError;
use crate::response::Response;

/// The frames received for one request.
#[derive(Debug)]
pub struct Received {
    /// The final frame that the waiter received; `None` if it still waits.
    pub end: Option<Frame>,
    /// The frames that the stream received, in order.
    pub followed: Vec<Frame>,
    /// `true` if a waiter is left.
    pub waiting: bool,
}

/// Registers a waiter and a stream for request `id`, then processes `pieces`: an announcement if it
/// begins with `[`, else an element of the response key.
#[must_use]
pub fn receive<'a>(id: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Received {
    let queue = Arc::new(Keys::new("redcall").of("q"));
    let key = queue.response(id);
    let origin = Origin { keys: queue, record: None, deadline: None };
    let (in_flight, _withdrawn) = InFlight::new();
    let (reread, _wanted) = mpsc::unbounded_channel();
    let (deliveries, mut later) = Deliveries::new(in_flight.clone(), None, |_| ());
    let (_waits, mut end) = in_flight.wait_for(id, &key, Stage::Sent, None);
    let (_follows, mut frames) = in_flight.follow(id, &key, origin);
    for piece in pieces {
        if piece.first() == Some(&b'[') {
            replies::on_announcement(piece, &in_flight, &reread, &deliveries);
            later.run_once();
        } else {
            in_flight.deliver(replies::parse(piece).into_iter());
        }
    }
    let followed = std::iter::from_fn(|| frames.try_next()?.ok()).collect();
    Received {
        end: end.try_recv().ok().and_then(Result::ok),
        followed,
        waiting: in_flight.is_waiting(id),
    }
}

/// Parses an element of a response key.
#[must_use]
pub fn frame(raw: &[u8]) -> Option<Frame> {
    replies::parse(raw)
}

/// Returns the caller's result for a final frame.
///
/// # Errors
///
/// The error in the frame.
pub fn response(frame: Frame, response_key: &str) -> Result<Response, CallError> {
    Response::from_frame(frame, response_key.to_owned())
}
