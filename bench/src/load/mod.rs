//! Load on whatever Redis and workers there are.

pub(crate) mod call;
pub(crate) mod drain;
pub(crate) mod enqueue;

use redcall_client::{CallError, Client, Request};
use serde_json::value::RawValue;
use tokio::task::JoinError;

/// What is called.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Box<RawValue>,
    /// The queue; else that of the mapping.
    pub queue: Option<String>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The first call already failed.
    #[error("not one call was answered")]
    NothingAnswered(#[source] CallError),
    /// Nothing could be queued.
    #[error("not one job could be queued")]
    NothingQueued(#[source] CallError),
    /// A caller has panicked: a fault of ours, which must not look like speed.
    #[error("a caller has panicked")]
    Panicked(#[from] JoinError),
}

impl Job {
    fn request(&self, client: &Client) -> Request {
        let request = client.request(&self.name).data(&self.data);
        match &self.queue {
            Some(queue) => request.queue(queue),
            None => request,
        }
    }
}
