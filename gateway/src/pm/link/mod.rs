//! One link: a connection to a peer, on which both sides call each other.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | [`run`]: the loop of the reader, and the end of a link |
//! | `peer.rs` | [`Link`]: all that the tasks of a link share |
//! | `inward.rs` | calls of the peer: requests, notifications, cancellations |
//! | `outward.rs` | jobs that the peer runs |
//! | `open.rs` | requests of this side without an answer yet |
//! | `outgoing.rs` | the writer |
//! | `answers.rs` | the forms of results and progress |

mod answers;
mod inward;
mod open;
mod outgoing;
mod outward;
mod peer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redcall_common::settings::PmSettings;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::bytes::Bytes;
use tokio_util::codec::FramedRead;

use self::outgoing::{Outgoing, write};
use self::peer::Link;
use super::errors::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR};
use super::wire::{FrameError, Frames, Incoming, Refusal, ends_with_version, read};
use crate::door::{Door, Stream};

/// A connection that ends within this time, without a message, was refused by its peer.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time limit of the last frames of a link that ends.
const LAST_FRAMES: Duration = Duration::from_secs(10);

/// The side of a link that the gateway is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An application of Pipeline Manager.
    Application,
    /// Pipeline Manager, for an application.
    Server,
}

/// A link that has ended.
pub(super) struct LinkEnd<J> {
    pub(super) why: End,
    /// `true` if the peer closed the connection at once.
    pub(super) was_taken: bool,
    /// Settles the jobs that the peer was running (`unavailable`), and enqueues the notifications
    /// that it has sent. Completes soon.
    pub(super) rest: J,
}

/// Why a link has ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer closed the connection.
    Closed,
    /// The connection failed, or its bytes are not frames.
    Frames(FrameError),
    /// The peer did not read, or the connection failed.
    Write(std::io::Error),
    /// The peer's message was refused.
    Refused,
    /// No message came within the door's `idle`.
    Idle,
    /// A task of the link panicked.
    Panicked,
    /// The door drains, and nothing is open.
    Drained,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Frames(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Refused => f.write_str("a message was refused"),
            Self::Idle => f.write_str("no message came within `idle`"),
            Self::Panicked => f.write_str("a task panicked"),
            Self::Drained => f.write_str("the gateway stops"),
        }
    }
}

/// Serves a link until it ends. Dropping the future ends it at once.
pub(super) async fn run(
    door: &Arc<Door>,
    (stream, peer): (Stream, &str),
    (role, settings): (Role, &PmSettings),
) -> LinkEnd<impl Future<Output = ()> + Send + use<>> {
    let (reading, writing) = tokio::io::split(stream);
    let (outgoing, queued) = Outgoing::new();
    let link = Arc::new(Link::new(door.clone(), (peer, role), outgoing, settings.clone()));
    let begun = Instant::now();
    let (mut jobs, mut notifications) = (JoinSet::new(), JoinSet::new());
    jobs.spawn(outward::run_jobs(link.clone()));
    notifications.spawn(inward::send_notifications(link.clone()));
    let frames = FramedRead::new(reading, Frames::new(door.settings().message));
    let why = {
        // Its tasks are dropped with it, which withdraws their requests.
        let mut reader = Reader { link: link.clone(), calls: JoinSet::new(), frames };
        let mut writer = std::pin::pin!(write(writing, queued, link.gone.clone()));
        let why = tokio::select! {
            biased;
            ended = &mut writer => End::Write(ended.err().unwrap_or_else(closed)),
            why = reader.run(&mut jobs, &mut notifications) => why,
        };
        link.open.close();
        link.gone.cancel();
        drop(reader);
        if !matches!(why, End::Write(_)) {
            let _ = timeout(LAST_FRAMES, writer).await;
        }
        why
    };
    let early = begun.elapsed() < ACCEPT_TIMEOUT && !link.has_received();
    let was_taken = early && matches!(why, End::Closed | End::Frames(_) | End::Write(_));
    let rest = async move {
        while jobs.join_next().await.is_some() {}
        while notifications.join_next().await.is_some() {}
    };
    LinkEnd { why, was_taken, rest }
}

/// The writer ends without an error only after `gone`.
fn closed() -> std::io::Error {
    std::io::ErrorKind::ConnectionAborted.into()
}

/// Reads a link's messages, and owns the tasks of its calls.
struct Reader<R> {
    link: Arc<Link>,
    calls: JoinSet<()>,
    frames: FramedRead<R, Frames>,
}

impl<R: tokio::io::AsyncRead + Unpin> Reader<R> {
    async fn run(&mut self, jobs: &mut JoinSet<()>, notifications: &mut JoinSet<()>) -> End {
        let door = self.link.door.clone();
        let idle = door.settings().listening.idle;
        let deadline = || idle.and_then(|idle| Instant::now().checked_add(idle));
        let (mut idle_at, mut is_draining) = (deadline(), false);
        loop {
            if is_draining && self.calls.is_empty() && jobs.is_empty() {
                return End::Drained;
            }
            tokio::select! {
                biased;
                () = door.draining(), if !is_draining => {
                    is_draining = true;
                }
                Some(ended) = self.calls.join_next() => {
                    if ended.is_err() {
                        return self.panicked();
                    }
                }
                Some(ended) = jobs.join_next() => {
                    if ended.is_err() {
                        return self.panicked();
                    }
                }
                // It ends after the link, unless it panics.
                Some(_) = notifications.join_next() => return self.panicked(),
                frame = self.frames.next() => match frame {
                    None => return End::Closed,
                    Some(Err(error)) => {
                        if matches!(error, FrameError::TooLarge { .. }) {
                            door.refuse(&self.link.peer, "too_large");
                        }
                        return End::Frames(error);
                    }
                    Some(Ok(frame)) => {
                        idle_at = deadline();
                        if let Some(end) = self.received(&frame, is_draining).await {
                            return end;
                        }
                    }
                },
                () = async { sleep_until(idle_at.unwrap_or_else(Instant::now)).await },
                    if idle_at.is_some() =>
                {
                    door.refuse(&self.link.peer, "idle");
                    return End::Idle;
                }
            }
        }
    }

    fn panicked(&self) -> End {
        self.link.door.panicked();
        End::Panicked
    }

    /// Handles one message; returns why the link ends, if it does.
    async fn received(&mut self, frame: &Bytes, is_draining: bool) -> Option<End> {
        let link = &self.link;
        let message = read(frame, link.door.all_settings().limits.depth);
        if message.is_ok() {
            link.note_message();
            if link.role == Role::Server && ends_with_version(frame) {
                link.has_sessions();
            }
        }
        match message {
            Ok(Incoming::Request(id, call)) => {
                link.saw(call.sid.as_deref(), &call.method);
                // A job that runs may need its answer.
                if is_draining && !link.open.has_request_in(call.sid.as_deref()) {
                    inward::refuse_draining(link, &id, call.sid.as_deref()).await;
                } else {
                    inward::request(link, (id, call), &mut self.calls).await;
                }
                None
            }
            Ok(Incoming::Notification(call)) => {
                link.saw(call.sid.as_deref(), &call.method);
                inward::notification(link, call).await;
                None
            }
            Ok(Incoming::Answer(answer)) => {
                if answer.has_session {
                    link.has_sessions();
                }
                if !link.open.answered(answer) {
                    link.door.metrics().dropped(1);
                }
                None
            }
            Err(refusal) => self.refused(refusal).await,
        }
    }

    async fn refused(&self, refusal: Refusal) -> Option<End> {
        let link = &self.link;
        let (why, code) = match &refusal {
            Refusal::Json => ("malformed", PARSE_ERROR),
            Refusal::Message(_) => ("malformed", INVALID_REQUEST),
            Refusal::Data { .. } => ("data", INVALID_PARAMS),
        };
        link.door.refuse(&link.peer, why);
        let message = refusal.to_string();
        match refusal {
            Refusal::Data { id: Some(id), sid, .. } => {
                link.error(Some(&id), sid.as_deref(), code, &message).await;
                None
            }
            Refusal::Data { id: None, .. } => None,
            // The server would pass an error without an id on to a browser.
            Refusal::Json | Refusal::Message(_) if link.role == Role::Application => None,
            Refusal::Json | Refusal::Message(_) => {
                link.error(None, None, code, &message).await;
                Some(End::Refused)
            }
        }
    }
}
