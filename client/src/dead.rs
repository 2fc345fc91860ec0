//! Dead letters of a queue: looking at them, queueing them again, deleting them.

use std::sync::Arc;

use redcall_common::decode::renewed;
use redcall_common::error::Code;
use redcall_common::store::keys::QueueKeys;
use redcall_common::store::{DeadLetter, DeadReader};

use crate::client::Client;
use crate::error::CallError;

/// Which dead letters are meant; every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Ids of requests, or places in the stream; empty: any.
    pub ids: Vec<String>,
    /// The error code.
    pub code: Option<Code>,
    /// The job's name.
    pub name: Option<String>,
    /// How many at most.
    pub limit: Option<usize>,
}

impl Selection {
    fn has(&self, letter: &DeadLetter) -> bool {
        let is_named = |id: &String| *id == letter.id || *id == letter.entry;
        (self.ids.is_empty() || self.ids.iter().any(is_named))
            && self.code.is_none_or(|code| code.as_str() == letter.code)
            && (self.name.is_none() || self.name == letter.name)
    }
}

/// What became of dead letters that were to be queued again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retried {
    /// How many were meant.
    pub matched: usize,
    /// How many were queued, or would be; what others took meanwhile is not.
    pub queued: usize,
    /// Places of those that are no requests, so that nothing can run them.
    pub unreadable: Vec<String>,
    /// How many the queue had no room for.
    pub left: usize,
}

/// The dead letters of one queue: made by [`Client::dead`].
#[derive(Clone)]
pub struct DeadLetters {
    client: Client,
    keys: Arc<QueueKeys>,
}

impl Client {
    /// The dead letters of `queue`.
    #[must_use]
    pub fn dead(&self, queue: &str) -> DeadLetters {
        DeadLetters { client: self.clone(), keys: self.inner.route(queue).keys.clone() }
    }
}

impl DeadLetters {
    /// Those of `selection`, the newest first.
    ///
    /// # Errors
    ///
    /// `unavailable` when Redis cannot be reached within the setting `client.timeout`. Dropping
    /// the future is harmless.
    pub async fn list(&self, selection: &Selection) -> Result<Vec<DeadLetter>, CallError> {
        let mut found = Vec::new();
        self.read(true, selection, async |letters| {
            found.extend(letters);
            Ok(true)
        })
        .await?;
        Ok(found)
    }

    /// Queues those of `selection` again, the oldest first, each once: without response key, since
    /// nobody waits any more, and with its time to begin anew. With `dry_run` nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`DeadLetters::list`]; some may be queued then, or when the future is dropped. Doing it
    /// again queues none of them twice.
    pub async fn retry(&self, selection: &Selection, dry_run: bool) -> Result<Retried, CallError> {
        let mut retried = Retried::default();
        let inner = &self.client.inner;
        let max_length = inner.caps.of(&self.keys);
        self.read(false, selection, async |letters| {
            retried.matched += letters.len();
            let mut ready = Vec::with_capacity(letters.len());
            for letter in letters {
                match renewed(&letter.request) {
                    Some(envelope) => ready.push((letter.entry, envelope)),
                    None => retried.unreadable.push(letter.entry),
                }
            }
            if dry_run {
                retried.queued += ready.len();
                return Ok(true);
            }
            let done = inner.link.revive(&self.keys, max_length, &ready, inner.timeout).await?;
            retried.queued += done.revived;
            retried.left += done.left;
            Ok(done.left == 0)
        })
        .await?;
        Ok(retried)
    }

    /// Deletes those of `selection`; how many. With `dry_run` nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`DeadLetters::list`]; some may be deleted then, or when the future is dropped.
    pub async fn purge(&self, selection: &Selection, dry_run: bool) -> Result<usize, CallError> {
        let (inner, mut purged) = (&self.client.inner, 0);
        self.read(false, selection, async |letters| {
            let entries: Vec<String> = letters.into_iter().map(|letter| letter.entry).collect();
            purged += match dry_run {
                true => entries.len(),
                false => inner.link.purge_dead(&self.keys, &entries, inner.timeout).await?,
            };
            Ok(true)
        })
        .await?;
        Ok(purged)
    }

    /// Hands the letters of `selection` on, in portions that are not empty, until `take` says no.
    async fn read(
        &self,
        newest_first: bool,
        selection: &Selection,
        mut take: impl AsyncFnMut(Vec<DeadLetter>) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        let inner = &self.client.inner;
        let mut left = selection.limit.unwrap_or(usize::MAX);
        let mut reader = DeadReader::new(newest_first);
        while left > 0 {
            let letters = reader.next(&inner.reads, &self.keys, inner.timeout).await?;
            if letters.is_empty() {
                return Ok(());
            }
            let mut letters: Vec<DeadLetter> =
                letters.into_iter().filter(|letter| selection.has(letter)).collect();
            letters.truncate(left);
            left -= letters.len();
            if !letters.is_empty() && !take(letters).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}
