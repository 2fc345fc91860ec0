//! The dead letters of a queue: reading them, having them run again, throwing them away.
//!
//! For people, over the connections of the [`Inspector`]. Workers dead_letter in their settling script;
//! nothing here does. Every command reads or changes at most 1,000 letters and 8 MiB of them, so
//! that Redis is never held up for long; what is asked for beyond that is done in portions.

mod envelope;
pub(crate) mod letter;
mod walk;

use redis::aio::MultiplexedConnection;
use serde::Serialize;

use super::error::StoreError;
use super::inspect::{Inspector, look_at};
use crate::ops::letters::remove;
use crate::ops::reply::millis;
use crate::ops::revive::{Revival, Revived, revive};
use redcall_common::auth::Keyring;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

pub use letter::{DeadLetter, Run};
pub use walk::DeadSelection;

use envelope::Signing;
use walk::Walk;

/// The dead letters of one queue. Made by [`Inspector::dead`].
#[derive(Clone)]
pub struct DeadLetters {
    inspector: Inspector,
    keys: QueueKeys,
    dead: String,
    max_length: u64,
    keyring: Option<Keyring>,
}

/// Some dead letters, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadPage {
    /// The letters, in the order that was asked for.
    pub letters: Vec<DeadLetter>,
    /// For [`DeadSelection::after`] of the next page; `None` if there is nothing more.
    pub next: Option<String>,
}

/// What became of the letters of a selection, or would become of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeadReport {
    /// Those with which it was done, in order.
    pub done: Vec<DeadRef>,
    /// Those with which it cannot be done. They lie where they were.
    pub skipped: Vec<DeadSkip>,
    /// How many somebody else has retried or taken away meanwhile.
    pub gone: u64,
    /// Whether the queue is full. What did not fit lies where it was.
    pub full: bool,
    /// Those of the given ids that no letter of the selection has.
    pub unknown: Vec<String>,
}

/// A dead letter, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadRef {
    /// Its entry in the stream.
    pub entry: String,
    /// The request's id; empty if it had none.
    pub id: String,
    /// The job's name, if the request can be read.
    pub name: Option<String>,
    /// The id of the request that retries it, if that is another: it was signed again.
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
    /// Why, for people.
    pub reason: String,
}

impl From<DeadLetter> for DeadRef {
    fn from(DeadLetter { entry, id, name, .. }: DeadLetter) -> Self {
        Self { entry, id, name, retried_as: None }
    }
}

impl Inspector {
    /// The dead letters of `queue`, which holds up to `max_length` requests; 0 for no cap. A queue
    /// that cannot be one has none.
    #[must_use]
    pub fn dead(&self, queue: &str, max_length: u64) -> DeadLetters {
        let keys = self.keys.of(queue);
        let (inspector, dead) = (self.clone(), keys.dead());
        DeadLetters { inspector, dead, keys, max_length, keyring: None }
    }
}

impl DeadLetters {
    /// The same, with keys under which signed letters are signed again when they are retried.
    #[must_use]
    pub fn signed_by(mut self, keyring: Option<Keyring>) -> Self {
        self.keyring = keyring;
        self
    }

    /// The letters of `selection`: as many as it allows, or fewer where they have 8 MiB. Those are
    /// a page; [`DeadPage::next`] leads to the next one.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses, as it does where [`DeadSelection::after`] is no
    /// entry. Dropping the future is harmless.
    pub async fn list(&self, selection: &DeadSelection) -> Result<DeadPage, StoreError> {
        let mut conn = self.inspector.connection().await?;
        let mut walk = Walk::new(&mut conn, &self.dead, selection).await?;
        let (mut letters, mut bytes) = (Vec::new(), 0);
        let mut ended = false;
        while bytes < COMMAND_BYTES && !ended {
            match walk.next(&mut conn).await? {
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

    /// The letter of this entry, or the newest one of the request with this id.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses. Dropping the future is harmless.
    pub async fn show(&self, id: &str) -> Result<Option<DeadLetter>, StoreError> {
        let selection = DeadSelection {
            ids: vec![id.to_owned()],
            newest_first: true,
            limit: Some(1),
            ..DeadSelection::default()
        };
        let mut conn = self.inspector.connection().await?;
        let mut walk = Walk::new(&mut conn, &self.dead, &selection).await?;
        Ok(walk.next(&mut conn).await?.and_then(|mut found| found.pop()))
    }

    /// Puts the letters of `selection` back into the queue, at its tail, each at most once. They
    /// keep their ids, data, headers, `enqueued_at`, which tells their age, and `budget_ms`, which
    /// starts at the first lease. No caller waits for them any more: `response_key`, `notify`,
    /// `idempotency_key` and `response_ttl_ms` go. A signed letter is signed again
    /// ([`DeadLetters::signed_by`]), under an id of its own and with the header `retry_of`, which
    /// names the one that it retries. It is skipped without a key to sign with, as is what cannot
    /// be read as a request. A `dry_run` changes nothing and says what would be done.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses. What was done before stays done, as it does when
    /// the future is dropped; calling again goes on with the rest.
    pub async fn retry(
        &self,
        selection: &DeadSelection,
        dry_run: bool,
    ) -> Result<DeadReport, StoreError> {
        let mut conn = self.inspector.connection().await?;
        let mut room = if dry_run { Some(self.room(&mut conn).await?) } else { None };
        let at_ms = millis(redis::cmd("TIME").query_async(&mut *conn).await?);
        let keyring = self.keyring.as_ref().filter(|keyring| keyring.sign_with().is_some());
        let signing = keyring.map(|keyring| Signing { keyring, queue: self.keys.name() });
        let mut walk = Walk::new(&mut conn, &self.dead, selection).await?;
        let mut report = DeadReport::default();
        while !report.full
            && let Some(found) = walk.next(&mut conn).await?
        {
            let (mut revivals, mut refs) = (Vec::new(), Vec::new());
            for letter in found {
                match envelope::requeued(&letter.request, at_ms, signing.as_ref()) {
                    Ok((id, envelope)) => {
                        let retried_as = (id != letter.id).then(|| id.clone());
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
                None => revive(&mut conn, &self.keys, self.max_length, &revivals).await?,
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

    /// Throws the letters of `selection` away. A `dry_run` changes nothing and says what would be
    /// done.
    ///
    /// # Errors
    ///
    /// As [`DeadLetters::retry`].
    pub async fn purge(
        &self,
        selection: &DeadSelection,
        dry_run: bool,
    ) -> Result<DeadReport, StoreError> {
        let mut conn = self.inspector.connection().await?;
        let mut walk = Walk::new(&mut conn, &self.dead, selection).await?;
        let mut report = DeadReport::default();
        while let Some(found) = walk.next(&mut conn).await? {
            let mut refs: Vec<DeadRef> = found.into_iter().map(DeadRef::from).collect();
            if !dry_run {
                let entries = refs.iter().map(|letter| letter.entry.as_str());
                let mut removed = remove(&mut conn, &self.dead, entries).await?.into_iter();
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

    /// How many more requests the queue takes.
    async fn room(&self, conn: &mut MultiplexedConnection) -> Result<u64, StoreError> {
        if self.max_length == 0 {
            return Ok(u64::MAX);
        }
        let held = look_at(conn, &self.keys).await?.held();
        Ok(self.max_length.saturating_sub(held))
    }
}

/// What would become of the next letter, where so many fit.
fn would_fit(room: &mut u64) -> Revived {
    if *room == 0 {
        return Revived::Full;
    }
    *room -= 1;
    Revived::Yes
}
