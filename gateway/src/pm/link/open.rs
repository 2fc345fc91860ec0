//! The requests of this side that the peer has not answered: written by the jobs that send them,
//! ended by the link's reader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::pm::wire::{Answer, PeerError};

/// Progress of one request that its job has not passed on yet; more is dropped.
const PROGRESS_QUEUED: usize = 256;

/// The result of a request.
pub(super) type PeerAnswer = Result<Box<RawValue>, PeerError>;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Open(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// By id, in the order in which they were sent.
    requests: BTreeMap<u64, Request>,
    /// The id used last: peers never answer id 0.
    last_id: u64,
    /// `true` once the link has ended.
    is_closed: bool,
}

#[derive(Debug)]
struct Request {
    method: String,
    sid: String,
    answer: oneshot::Sender<PeerAnswer>,
    progress: mpsc::Sender<Box<RawValue>>,
}

/// A request that waits for its answer. Dropping it makes its id unknown: a late answer is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) answer: oneshot::Receiver<PeerAnswer>,
    pub(super) progress: mpsc::Receiver<Box<RawValue>>,
    open: Open,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.open.table().requests.remove(&self.id);
    }
}

/// The params of `progress_change`.
#[derive(Deserialize)]
struct Progress<'a> {
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    progress: &'a RawValue,
}

impl Open {
    /// Enters a request; `None` once the link has ended.
    pub(super) fn send_request(&self, method: &str, sid: &str) -> Option<Waiting> {
        let (answered, answer) = oneshot::channel();
        let (reported, progress) = mpsc::channel(PROGRESS_QUEUED);
        let mut table = self.table();
        if table.is_closed {
            return None;
        }
        table.last_id += 1;
        let (id, method, sid) = (table.last_id, method.to_owned(), sid.to_owned());
        let request = Request { method, sid, answer: answered, progress: reported };
        table.requests.insert(id, request);
        drop(table);
        Some(Waiting { id, answer, progress, open: self.clone() })
    }

    /// Hands an answer to its request. `false` if there is no such request.
    pub(super) fn answered(&self, answer: Answer) -> bool {
        let Some(id) = answer.id else { return false };
        let request = self.table().requests.remove(&id);
        request.is_some_and(|request| request.answer.send(answer.result).is_ok())
    }

    /// Hands progress to the request that was sent last of this session and method. `false` if
    /// there is none, or the data are not progress.
    pub(super) fn progressed(&self, sid: Option<&str>, params: &RawValue) -> bool {
        if !params.get().starts_with('{') {
            return false;
        }
        let Ok(Progress { method, progress }) = serde_json::from_str(params.get()) else {
            return false;
        };
        let table = self.table();
        let is_it = |request: &&Request| Some(&*request.sid) == sid && request.method == method;
        let request = table.requests.values().rev().find(is_it);
        request.is_some_and(|request| request.progress.try_send(progress.to_owned()).is_ok())
    }

    /// Returns `true` if a request of this session has no answer yet.
    pub(super) fn has_request_in(&self, sid: Option<&str>) -> bool {
        self.table().requests.values().any(|request| Some(&*request.sid) == sid)
    }

    /// Ends all requests without an answer, and refuses later ones.
    pub(super) fn close(&self) {
        let mut table = self.table();
        table.is_closed = true;
        table.requests.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn answer(id: u64) -> Answer {
        Answer { id: Some(id), has_session: true, result: Ok(raw("1")) }
    }

    #[test]
    fn ids_begin_at_one_and_answers_find_their_requests() {
        let open = Open::default();
        let (mut first, mut second) =
            (open.send_request("x", "S").unwrap(), open.send_request("x", "S").unwrap());
        assert_eq!((first.id, second.id), (1, 2));
        assert!(open.has_request_in(Some("S")) && !open.has_request_in(Some("T")));
        assert!(!open.has_request_in(None));
        assert!(open.answered(answer(2)) && !open.answered(answer(2)));
        assert_eq!(second.answer.try_recv().unwrap().unwrap().get(), "1");
        assert!(first.answer.try_recv().is_err());
        assert!(!open.answered(Answer { id: None, ..answer(0) }));
    }

    #[test]
    fn late_answer_is_unknown() {
        let open = Open::default();
        drop(open.send_request("x", "S").unwrap());
        assert!(open.table().requests.is_empty());
        assert!(!open.answered(answer(1)));
    }

    #[test]
    fn progress_reaches_the_request_of_its_session_and_method() {
        let open = Open::default();
        let mut run = open.send_request("run", "S").unwrap();
        let mut other = open.send_request("run", "T").unwrap();
        let progress = raw(r#"{"method": "run", "progress": 1.50}"#);
        assert!(open.progressed(Some("S"), &progress));
        assert_eq!(run.progress.try_recv().unwrap().get(), "1.50");
        assert!(other.progress.try_recv().is_err());
        assert!(!open.progressed(Some("U"), &progress) && !open.progressed(None, &progress));
        assert!(!open.progressed(Some("S"), &raw("[]")));
        assert!(!open.progressed(Some("S"), &raw(r#"{"method": "stop", "progress": 1}"#)));
    }

    #[test]
    fn closed_link_ends_requests_and_refuses_others() {
        let open = Open::default();
        let mut waiting = open.send_request("x", "S").unwrap();
        open.close();
        assert!(matches!(waiting.answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(open.send_request("x", "S").is_none());
    }
}
