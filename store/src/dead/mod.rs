//! The dead letters of a queue: reading, retrying, purging.
//!
//! For operators, over the operations of the seam ([`DeadOps`]). Workers write dead letters in
//! their settling script. Each command reads or changes at most 1,000 letters and 8 MiB, which
//! bounds the time it blocks Redis; larger selections run in batches.

mod envelope;
pub(crate) mod letter;
mod walk;

use serde::Serialize;

use crate::error::StoreError;
use crate::inspect::{Inspector, QueueOps};
use crate::ops::{DeadOps, Revival, Revived};
use redcall_common::auth::Keyring;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

pub use letter::{DeadLetter, Run};
pub use walk::DeadSelection;

use envelope::Signing;
use walk::Walk;

/// The dead letters of one queue at the broker `B`. Made by [`Inspector::dead`].
#[derive(Clone)]
pub struct DeadLetters<B = Inspector> {
    broker: B,
    keys: QueueKeys,
    max_length: u64,
    keyring: Option<Keyring>,
}

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadPage {
    /// The letters, in the requested order.
    pub letters: Vec<DeadLetter>,
    /// The value of [`DeadSelection::after`] for the next page; `None` on the last page.
    pub next: Option<String>,
}

/// The result of a retry or purge, or of its dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadReport {
    /// The letters that were retried or purged, in order.
    pub done: Vec<DeadRef>,
    /// The letters that cannot be retried. They remain in the stream.
    pub skipped: Vec<DeadSkip>,
    /// The number of letters that another process has retried or purged meanwhile.
    pub gone: u64,
    /// `true` if the queue is full. The letters that did not fit remain in the stream.
    pub full: bool,
    /// The given ids that match no letter of the selection.
    pub unknown: Vec<String>,
}

/// A reference to a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadRef {
    /// Its entry in the stream.
    pub entry: String,
    /// The request's id; empty if it had none.
    pub id: String,
    /// The job's name, if the request can be read.
    pub name: Option<String>,
    /// The id of the request that retries it, if it differs: a signed letter gets a new id. `None`
    /// in a dry run, which queues no request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried_as: Option<String>,
}

/// A dead letter that cannot be retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadSkip {
    /// Its entry in the stream.
    pub entry: String,
    /// The request's id; empty if it had none.
    pub id: String,
    /// The reason, human-readable.
    pub reason: String,
}

impl From<DeadLetter> for DeadRef {
    fn from(DeadLetter { entry, id, name, .. }: DeadLetter) -> Self {
        Self { entry, id, name, retried_as: None }
    }
}

impl Inspector {
    /// The dead letters of `queue`, which holds up to `max_length` requests; 0 for no cap. An
    /// invalid queue name has no dead letters.
    #[must_use]
    pub fn dead(&self, queue: &str, max_length: u64) -> DeadLetters {
        DeadLetters::new(self.clone(), self.keys.of(queue), max_length)
    }
}

impl<B: DeadOps + QueueOps> DeadLetters<B> {
    /// Returns the dead letters of the queue of `keys`, which holds up to `max_length` requests; 0
    /// for no cap.
    #[must_use]
    pub fn new(broker: B, keys: QueueKeys, max_length: u64) -> Self {
        Self { broker, keys, max_length, keyring: None }
    }

    /// Sets the keys with which retried letters are signed again.
    #[must_use]
    pub fn signed_by(mut self, keyring: Option<Keyring>) -> Self {
        self.keyring = keyring;
        self
    }

    /// Returns a page of the letters of `selection`: up to its limit, or 8 MiB. [`DeadPage::next`]
    /// leads to the next page.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses, as it does if [`DeadSelection::after`] is not an
    /// entry id. Cancel-safe.
    pub async fn list(&self, selection: &DeadSelection) -> Result<DeadPage, StoreError> {
        let mut walk = Walk::new(&self.broker, &self.keys, selection).await?;
        let (mut letters, mut bytes) = (Vec::new(), 0);
        let mut ended = false;
        while bytes < COMMAND_BYTES && !ended {
            match walk.next().await? {
                Some(found) => {
                    bytes += found.iter().map(DeadLetter::size).sum::<usize>();
                    letters.extend(found);
                }
                None => ended = true,
            }
        }
        let last = letters.last().map(|letter| letter.entry.clone());
        let next = last.filter(|_| walk.is_cut());
        Ok(DeadPage { letters, next })
    }

    /// Returns the letter with this entry id, or the newest letter of the request with this id.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn show(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        let selection = DeadSelection {
            ids: vec![id.to_owned()],
            newest_first: true,
            limit: Some(1),
            ..DeadSelection::default()
        };
        let mut walk = Walk::new(&self.broker, &self.keys, &selection).await?;
        Ok(walk.next().await?.and_then(|mut found| found.pop()))
    }

    /// Puts the letters of `selection` back at the tail of the queue, each at most once. A letter
    /// keeps its id, data, headers, `enqueued_at`, which states its age, and `budget_ms`, which
    /// starts at the first lease. No caller waits for it any more: `response_key`, `notify`,
    /// `idempotency_key` and `response_ttl_ms` are removed. A signed letter is signed again
    /// ([`DeadLetters::signed_by`]) under a new id, with the original id in the header `retry_of`.
    /// Signed letters are skipped without a key, and so are unreadable requests. A `dry_run`
    /// changes nothing and returns the expected result, without new ids.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Completed batches stay done, also if the future is
    /// dropped; another call continues with the rest.
    pub async fn retry(
        &self,
        selection: &DeadSelection,
        dry_run: bool,
    ) -> Result<DeadReport, StoreError> {
        let mut room = if dry_run { Some(self.room().await?) } else { None };
        let at_ms = self.broker.time_ms().await?;
        let keyring = self.keyring.as_ref().filter(|keyring| keyring.sign_with().is_some());
        let signing = keyring.map(|keyring| Signing { keyring, queue: self.keys.name() });
        let mut walk = Walk::new(&self.broker, &self.keys, selection).await?;
        let mut report = DeadReport::default();
        while !report.full
            && let Some(found) = walk.next().await?
        {
            let (mut revivals, mut refs) = (Vec::new(), Vec::new());
            for letter in found {
                match envelope::requeued(&letter.request, at_ms, signing.as_ref()) {
                    Ok((id, envelope)) => {
                        let is_renamed = id != letter.id && !dry_run;
                        let retried_as = is_renamed.then(|| id.clone());
                        revivals.push(Revival { entry: letter.entry.clone(), id, envelope });
                        refs.push(DeadRef { retried_as, ..DeadRef::from(letter) });
                    }
                    Err(reason) => {
                        let DeadLetter { entry, id, .. } = letter;
                        report.skipped.push(DeadSkip { entry, id, reason });
                    }
                }
            }
            let results = match &mut room {
                Some(room) => revivals.iter().map(|_| would_fit(room)).collect(),
                None if revivals.is_empty() => Vec::new(),
                None => self.broker.revive_letters(&self.keys, self.max_length, &revivals).await?,
            };
            for (result, done) in results.into_iter().zip(refs) {
                match result {
                    Revived::Yes => report.done.push(done),
                    Revived::Gone => report.gone += 1,
                    Revived::Full => report.full = true,
                }
            }
        }
        report.unknown = walk.unknown();
        Ok(report)
    }

    /// Purges the letters of `selection`. A `dry_run` changes nothing and returns the expected
    /// result.
    ///
    /// # Errors
    ///
    /// As [`DeadLetters::retry`].
    pub async fn purge(
        &self,
        selection: &DeadSelection,
        dry_run: bool,
    ) -> Result<DeadReport, StoreError> {
        let mut walk = Walk::new(&self.broker, &self.keys, selection).await?;
        let mut report = DeadReport::default();
        while let Some(found) = walk.next().await? {
            let mut refs: Vec<DeadRef> = found.into_iter().map(DeadRef::from).collect();
            if !dry_run {
                let entries: Vec<_> = refs.iter().map(|letter| letter.entry.clone()).collect();
                let removed = self.broker.remove_letters(&self.keys, &entries).await?;
                let mut removed = removed.into_iter();
                refs.retain(|_| {
                    let done = removed.next().unwrap_or(false);
                    report.gone += u64::from(!done);
                    done
                });
            }
            report.done.extend(refs);
        }
        report.unknown = walk.unknown();
        Ok(report)
    }

    /// Returns how many more requests the queue accepts.
    async fn room(&self) -> Result<u64, StoreError> {
        if self.max_length == 0 {
            return Ok(u64::MAX);
        }
        let held = self.broker.queue(self.keys.name()).await?.held();
        Ok(self.max_length.saturating_sub(held))
    }
}

/// Predicts the result for the next letter, given the room in the queue.
fn would_fit(room: &mut u64) -> Revived {
    if *room == 0 {
        return Revived::Full;
    }
    *room -= 1;
    Revived::Yes
}
