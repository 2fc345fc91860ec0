//! The state that the tasks of one link share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redcall_common::settings::PmSettings;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Role;
use super::inward::Calls;
use super::open::Open;
use super::outgoing::Outgoing;
use crate::door::Door;
use crate::pm::wire::{Call, Id, Writer};

/// The session of answers to requests without one, towards a peer that has sessions: its library
/// reads no answer without an envelope.
const NO_SESSION: &str = "";

/// One link. Shared by its reader and its tasks.
pub(super) struct Link {
    pub(super) door: Arc<Door>,
    /// The peer's address, for logs and the header `peer`.
    pub(super) peer: String,
    pub(super) role: Role,
    pub(super) settings: PmSettings,
    pub(super) writer: Writer,
    pub(super) outgoing: Outgoing,
    /// Requests of this side without an answer yet.
    pub(super) open: Open,
    /// Cancelled once the link has ended.
    pub(super) gone: CancellationToken,
    /// The calls of the peer that may still begin.
    pub(super) permits: Arc<Semaphore>,
    /// The running calls of the peer.
    pub(super) calls: Calls,
    /// The peer's notifications, in their order.
    pub(super) notifications: mpsc::Sender<Call>,
    /// Taken by their task.
    pub(super) received: Mutex<Option<mpsc::Receiver<Call>>>,
    /// Cancelled at the first message that can be read.
    pub(super) first_message: CancellationToken,
    /// `true` once the peer has used a session. Written by the reader.
    has_sessions: AtomicBool,
    /// The session of the last call. Written by the reader, read by jobs without a session.
    newest: Mutex<Option<String>>,
}

impl Link {
    pub(super) fn new(
        door: Arc<Door>,
        (peer, role): (&str, Role),
        outgoing: Outgoing,
        settings: PmSettings,
    ) -> Self {
        let concurrency = door.settings().outward.concurrency;
        let (notifications, received) = mpsc::channel(concurrency);
        let writer = match role {
            Role::Application => Writer::Application,
            Role::Server => Writer::Server,
        };
        Self {
            door,
            peer: peer.to_owned(),
            role,
            settings,
            writer,
            outgoing,
            open: Open::default(),
            gone: CancellationToken::new(),
            permits: Arc::new(Semaphore::new(concurrency)),
            calls: Calls::default(),
            notifications,
            received: Mutex::new(Some(received)),
            first_message: CancellationToken::new(),
            has_sessions: AtomicBool::new(false),
            newest: Mutex::new(None),
        }
    }

    /// Notes that the peer speaks the protocol.
    pub(super) fn note_message(&self) {
        self.first_message.cancel();
    }

    /// Returns `true` once the peer has sent a message.
    pub(super) fn has_received(&self) -> bool {
        self.first_message.is_cancelled()
    }

    /// Notes that the peer has sessions.
    pub(super) fn has_sessions(&self) {
        self.has_sessions.store(true, Ordering::Relaxed);
    }

    /// Notes the session of a call. Superseded sessions may only stop their runs: such a call does
    /// not make its session the newest one.
    pub(super) fn saw(&self, sid: Option<&str>, method: &str) {
        let Some(sid) = sid else { return };
        self.has_sessions();
        if self.settings.cancels.contains_key(method) {
            return;
        }
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_deref() != Some(sid) {
            *newest = Some(sid.to_owned());
        }
    }

    /// Returns the session under which the peer gets a job that names none: that of the browser
    /// which called last, else the job's id.
    pub(super) fn session_for(&self, job_id: &str) -> String {
        let newest = match self.role {
            Role::Application => self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Role::Server => None,
        };
        newest.unwrap_or_else(|| job_id.to_owned())
    }

    /// Returns the session of an answer: a peer that has sessions gets no answer without one.
    pub(super) fn answer_session<'a>(&self, sid: Option<&'a str>) -> Option<&'a str> {
        sid.or_else(|| self.has_sessions.load(Ordering::Relaxed).then_some(NO_SESSION))
    }

    /// Sends an error; `id` is `None` if the request's cannot be read.
    pub(super) async fn error(&self, id: Option<&Id>, sid: Option<&str>, code: i32, message: &str) {
        let sid = self.answer_session(sid);
        self.outgoing.send(self.writer.error(id, sid, code, message)).await;
    }
}
