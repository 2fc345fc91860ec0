//! Whether the worker's user at Redis may do what a worker does: asked at the start, after each
//! reconnect, with heartbeats, and for whoever asks whether the worker is ready.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_store::rights::{MissingRight, Role};
use redcall_store::{Link, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::WITHIN;
use super::heartbeat::Told;
use crate::error::WorkerError;

/// For how long an answer holds, for those who ask whether the worker is ready.
const HOLDS: Duration = Duration::from_secs(1);
/// How often heartbeats ask.
const EVERY: Duration = Duration::from_secs(30);

/// What is known of the rights. Read and written by the dispatcher alone.
pub(crate) struct Rights {
    keys: Keys,
    queues: Vec<String>,
    /// Those that are missing and needed, as `ACL SETUSER` takes them.
    missing: Vec<String>,
    /// Those that are missing and only useful.
    useful: HashSet<String>,
    asked: Option<Instant>,
    is_asking: bool,
}

impl Rights {
    pub(crate) fn new(keys: Keys, queues: Vec<String>) -> Self {
        let (missing, useful) = (Vec::new(), HashSet::new());
        Self { keys, queues, missing, useful, asked: None, is_asking: false }
    }

    /// Asks before anything else is done.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Rights`] if one is missing that is needed; or Redis cannot be asked.
    pub(crate) async fn require(&mut self, link: &Link) -> Result<(), WorkerError> {
        let queues: Vec<&str> = self.queues.iter().map(String::as_str).collect();
        let missing = link.missing_rights(Role::Worker, &self.keys, &queues, WITHIN).await?;
        self.answered(Ok(missing));
        match self.missing.join(", ") {
            none if none.is_empty() => Ok(()),
            missing => Err(WorkerError::Rights { missing }),
        }
    }

    /// Asks, for one who wants to know whether the worker is ready.
    pub(crate) fn ask(&mut self, link: &Arc<Link>, told: &mpsc::UnboundedSender<Told>) {
        self.ask_after(HOLDS, link, told);
    }

    /// Asks now and then.
    pub(crate) fn beat(&mut self, link: &Arc<Link>, told: &mpsc::UnboundedSender<Told>) {
        self.ask_after(EVERY, link, told);
    }

    /// What is known holds no longer: there is another connection.
    pub(crate) fn forget(&mut self) {
        self.asked = None;
    }

    fn ask_after(&mut self, holds: Duration, link: &Arc<Link>, told: &mpsc::UnboundedSender<Told>) {
        let is_known = self.asked.is_some_and(|at| at.elapsed() < holds);
        if self.is_asking || is_known {
            return;
        }
        self.is_asking = true;
        let (link, told) = (link.clone(), told.clone());
        let (keys, queues) = (self.keys.clone(), self.queues.clone());
        tokio::spawn(async move {
            let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
            let missing = link.missing_rights(Role::Worker, &keys, &queues, WITHIN).await;
            let _ = told.send(Told::Rights(missing));
        });
    }

    /// Takes an answer, and logs what has changed.
    pub(crate) fn answered(&mut self, answer: Result<Vec<MissingRight>, StoreError>) {
        (self.asked, self.is_asking) = (Some(Instant::now()), false);
        let missing = match answer {
            Ok(missing) => missing,
            // The connection's state says more than a question that it has not answered.
            Err(error) if error.is_transient() => return,
            Err(error) => {
                tracing::debug!(%error, "Redis does not say which rights its user has");
                vec![MissingRight { rule: "+evalsha".to_owned(), is_needed: true }]
            }
        };
        let (needed, useful): (Vec<_>, Vec<_>) = missing.into_iter().partition(|one| one.is_needed);
        let needed: Vec<String> = needed.into_iter().map(|right| right.rule).collect();
        for right in needed.iter().filter(|right| !self.missing.contains(right)) {
            tracing::error!(right, "the Redis user lacks a right: the worker is not ready");
        }
        for right in self.missing.iter().filter(|right| !needed.contains(right)) {
            tracing::info!(right, "the Redis user has the right again");
        }
        let useful: HashSet<String> = useful.into_iter().map(|right| right.rule).collect();
        for right in useful.difference(&self.useful) {
            tracing::warn!(right, "the Redis user lacks a right that would be of use");
        }
        (self.missing, self.useful) = (needed, useful);
    }

    /// Whether an answer is on its way.
    pub(crate) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// Why the worker is not ready, if rights are missing.
    pub(crate) fn problem(&self) -> Option<String> {
        (!self.missing.is_empty())
            .then(|| format!("the Redis user lacks rights: {}", self.missing.join(", ")))
    }
}
