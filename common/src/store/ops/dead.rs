//! Dead letters: reading, deleting, and `revive.lua`, which queues them again.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::read;
use crate::limits::{COMMAND_BYTES, portion};
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;
use crate::store::script::REVIVE;

/// How many letters the first command reads; further ones as many as their size allows.
const FIRST: usize = 4;
const MOST: usize = 1000;

/// A request that could not be run or answered.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// Its place in the stream.
    pub entry: String,
    /// Redis time at which it was given up, ms.
    pub at_ms: u64,
    /// The request's id; empty if it has none that can be read.
    pub id: String,
    /// The job's name, if it can be read.
    pub name: Option<String>,
    /// The error code.
    pub code: String,
    /// Why, for people.
    pub reason: String,
    /// The worker that gave it up.
    pub worker: String,
    /// Its runs, a JSON array; none if it was never started.
    pub history: Option<Box<RawValue>>,
    /// The element as it was, or its first 64 KiB if it was huge.
    #[serde(serialize_with = "as_text")]
    pub request: Vec<u8>,
}

fn as_text<S: serde::Serializer>(request: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(request))
}

/// What became of letters that were to be queued again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revived {
    /// How many were queued; the others were gone, or had no room.
    pub revived: usize,
    /// How many the queue had no room for.
    pub left: usize,
}

/// Reads dead letters in portions.
#[derive(Debug)]
pub struct DeadReader {
    newest_first: bool,
    last: Option<String>,
    count: usize,
    ended: bool,
}

impl DeadReader {
    /// From the newest on, or from the oldest.
    #[must_use]
    pub fn new(newest_first: bool) -> Self {
        Self { newest_first, last: None, count: FIRST, ended: false }
    }

    /// The next letters; empty after the last. At most 1,000, and of about 8 MiB.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses; the same letters come again then.
    pub async fn next(
        &mut self,
        link: &Link,
        keys: &QueueKeys,
        within: Duration,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        if self.ended {
            return Ok(Vec::new());
        }
        type Entry = (String, HashMap<String, Vec<u8>>);
        let (command, first, end) =
            if self.newest_first { ("XREVRANGE", "+", "-") } else { ("XRANGE", "-", "+") };
        let from = self.last.as_ref().map_or_else(|| first.to_owned(), |last| format!("({last}"));
        let mut call = redis::cmd(command);
        call.arg(keys.dead()).arg(from).arg(end).arg("COUNT").arg(self.count);
        let entries: Vec<Entry> =
            link.with(within, async |conn| call.query_async(conn).await).await?;
        self.ended = entries.len() < self.count;
        if let Some((entry, _)) = entries.last() {
            self.last = Some(entry.clone());
        }
        let letters: Vec<DeadLetter> = entries.into_iter().map(letter).collect();
        let bytes: usize = letters.iter().map(|letter| letter.request.len() + 500).sum();
        let average = bytes / letters.len().max(1) + 1;
        self.count = (COMMAND_BYTES / average).clamp(1, MOST).min(8 * self.count);
        Ok(letters)
    }
}

fn letter((entry, mut fields): (String, HashMap<String, Vec<u8>>)) -> DeadLetter {
    let mut text = |field| {
        let bytes = fields.remove(field).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (id, code, reason) = (text("id"), text("code"), text("reason"));
    let (worker, history) = (text("worker"), text("history"));
    let request = fields.remove("request").unwrap_or_default();
    DeadLetter {
        at_ms: entry.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or(0),
        name: crate::decode::name_of(&request),
        history: RawValue::from_string(history).ok(),
        entry,
        id,
        code,
        reason,
        worker,
        request,
    }
}

impl Link {
    /// Deletes dead letters by their places; how many there were.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] they may be deleted; doing it again is harmless.
    pub async fn purge_dead(
        &self,
        keys: &QueueKeys,
        entries: &[String],
        within: Duration,
    ) -> Result<usize, StoreError> {
        let call = redis::cmd("XDEL").arg(keys.dead()).arg(entries).to_owned();
        self.with(within, async |conn| call.query_async(conn).await).await
    }

    /// Queues dead letters again, as the given envelopes, in portions. `max_length` 0 means no
    /// cap. What is gone meanwhile is left out: nothing is queued twice.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] some may be queued; doing it again is harmless.
    pub async fn revive(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        letters: &[(String, String)],
        within: Duration,
    ) -> Result<Revived, StoreError> {
        let own = [keys.dead(), keys.queue(), keys.schedule(), keys.limited_names()];
        let mut all = Revived { revived: 0, left: 0 };
        let mut rest = letters;
        while !rest.is_empty() && all.left == 0 {
            let sizes = rest.iter().take(MOST).map(|(_, envelope)| envelope.len());
            let (now, later) = rest.split_at(portion(sizes));
            let mut call = REVIVE.call(&own);
            call.arg(max_length);
            for (entry, envelope) in now {
                call.arg(entry).arg(envelope);
            }
            let value = self.run(&REVIVE, &call, within).await?;
            let (revived, left): (usize, usize) = read("revive", value)?;
            all.revived += revived;
            if left > 0 {
                all.left = left + later.len();
            }
            rest = later;
        }
        Ok(all)
    }
}
