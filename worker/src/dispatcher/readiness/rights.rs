//! The rights of the worker's Redis user: checked at the start, after each reconnect, with
//! heartbeats, and for readiness checks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_store::rights::{MissingRight, Role};
use redcall_store::{CheckOps as _, Connection, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::dispatcher::io_event::IoEvent;
use crate::dispatcher::readiness::probe::REUSED_FOR;
use crate::error::WorkerError;
use crate::time::REDIS_TIMEOUT;

/// How often heartbeats check.
const EVERY: Duration = Duration::from_secs(30);

/// The known rights. Read and written by the dispatcher alone.
pub(crate) struct Rights {
    keys: Keys,
    queues: Vec<String>,
    /// Missing rights that the worker needs, in the form of `ACL SETUSER`.
    missing: Vec<String>,
    /// Missing rights that are only useful.
    useful: HashSet<String>,
    checked: Option<Instant>,
    is_checking: bool,
}

impl Rights {
    pub(crate) fn new(keys: Keys, queues: Vec<String>) -> Self {
        let (missing, useful) = (Vec::new(), HashSet::new());
        Self { keys, queues, missing, useful, checked: None, is_checking: false }
    }

    /// Checks the rights, before the worker does anything else.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Rights`] if a needed right is missing; an error of Redis otherwise.
    pub(crate) async fn require(&mut self, link: &Connection) -> Result<(), WorkerError> {
        let queues: Vec<&str> = self.queues.iter().map(String::as_str).collect();
        let missing = link.missing_rights(Role::Worker, &self.keys, &queues, REDIS_TIMEOUT).await?;
        self.answered(Ok(missing));
        match self.missing.join(", ") {
            none if none.is_empty() => Ok(()),
            missing => Err(WorkerError::Rights { missing }),
        }
    }

    /// Checks the rights for a readiness check.
    pub(crate) fn check_for_readiness(
        &mut self,
        link: &Arc<Connection>,
        events: &mpsc::UnboundedSender<IoEvent>,
    ) {
        self.check_if_older(REUSED_FOR, link, events);
    }

    /// Checks the rights from time to time.
    pub(crate) fn check_regularly(
        &mut self,
        link: &Arc<Connection>,
        events: &mpsc::UnboundedSender<IoEvent>,
    ) {
        self.check_if_older(EVERY, link, events);
    }

    /// Forgets the last result: the connection is a new one.
    pub(crate) fn forget(&mut self) {
        self.checked = None;
    }

    fn check_if_older(
        &mut self,
        max_age: Duration,
        link: &Arc<Connection>,
        events: &mpsc::UnboundedSender<IoEvent>,
    ) {
        let is_known = self.checked.is_some_and(|at| at.elapsed() < max_age);
        if self.is_checking || is_known {
            return;
        }
        self.is_checking = true;
        let (link, events) = (link.clone(), events.clone());
        let (keys, queues) = (self.keys.clone(), self.queues.clone());
        tokio::spawn(async move {
            let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
            let missing = link.missing_rights(Role::Worker, &keys, &queues, REDIS_TIMEOUT).await;
            let _ = events.send(IoEvent::Rights(missing));
        });
    }

    /// Records a result, and logs changes.
    pub(crate) fn answered(&mut self, answer: Result<Vec<MissingRight>, StoreError>) {
        (self.checked, self.is_checking) = (Some(Instant::now()), false);
        let missing = match answer {
            Ok(missing) => missing,
            // The connection's state is reported on its own.
            Err(error) if error.is_transient() => return,
            Err(error) => {
                tracing::debug!(%error, "cannot read the rights of the Redis user");
                vec![MissingRight { rule: "+evalsha".to_owned(), is_needed: true }]
            }
        };
        let (needed, useful): (Vec<_>, Vec<_>) = missing.into_iter().partition(|one| one.is_needed);
        let needed: Vec<String> = needed.into_iter().map(|right| right.rule).collect();
        for right in needed.iter().filter(|right| !self.missing.contains(right)) {
            tracing::error!(right, "the Redis user lacks a right: the worker is not ready");
        }
        for right in self.missing.iter().filter(|right| !needed.contains(right)) {
            tracing::info!(right, "the Redis user has a needed right again");
        }
        let useful: HashSet<String> = useful.into_iter().map(|right| right.rule).collect();
        for right in useful.difference(&self.useful) {
            tracing::warn!(right, "the Redis user lacks an optional right");
        }
        (self.missing, self.useful) = (needed, useful);
    }

    /// Returns `true` if a check is in flight.
    pub(crate) fn is_checking(&self) -> bool {
        self.is_checking
    }

    /// Returns why the worker is not ready, if rights are missing.
    pub(crate) fn problem(&self) -> Option<String> {
        (!self.missing.is_empty())
            .then(|| format!("the Redis user lacks rights: {}", self.missing.join(", ")))
    }
}
