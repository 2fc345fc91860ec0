//! Reading the broker in memory: its queues and dead letters.
//!
//! Not covered, and refused as unexpected: workers, services, and all that `redcall doctor` checks.

use std::collections::BTreeSet;
use std::time::Duration;

use redcall_common::keys::{Keys, QueueKeys};
use redcall_store::dead::DeadLetter;
use redcall_store::inspect::rights::{MissingRight, Role};
use redcall_store::inspect::{QueueInfo, WorkerInfo};
use redcall_store::{
    Clock, DeadOps, DoctorOps, InstanceState, KeptBytes, KeyCensus, LetterBatch, LetterRange,
    LimitFault, LimitRule, Listing, QueueOps, Revival, Revived, ServerInfo, StoreError,
    StuckWorker, TimeAhead,
};

use super::memory::{Hub, MISSING, missing};

/// Reads the data of a broker.
#[derive(Clone)]
pub(crate) struct MemoryInspector(pub(crate) Hub);

/// The numbers of an entry id, without the bracket of a range.
fn position(entry: &str) -> (u64, u64) {
    match entry.trim_start_matches('(') {
        "-" => (0, 0),
        "+" => (u64::MAX, u64::MAX),
        entry => {
            let (ms, number) = entry.split_once('-').unwrap();
            (ms.parse().unwrap(), number.parse().unwrap())
        }
    }
}

/// Returns `true` if the letter is within the range.
fn is_in(range: &LetterRange, letter: &DeadLetter) -> bool {
    let at = position(&letter.entry);
    let (low, high) =
        if range.newest_first { (&range.to, &range.from) } else { (&range.from, &range.to) };
    let excluded = [low, high].into_iter().filter(|end| end.starts_with('('));
    position(low) <= at
        && at <= position(high)
        && excluded.into_iter().all(|end| position(end) != at)
}

impl QueueOps for MemoryInspector {
    async fn queue_names(&self) -> Result<Vec<String>, StoreError> {
        Err(MISSING)
    }

    async fn queue(&self, name: &str) -> Result<QueueInfo, StoreError> {
        let (keys, data) = (Keys::new("redcall").of(name), self.0.data());
        let length = data.queues.get(&keys.queue()).map_or(0, |queue| queue.len() as u64);
        let dead = data.dead.get(&keys.dead()).map_or(0, |letters| letters.len() as u64);
        Ok(QueueInfo {
            queue: name.to_owned(),
            length,
            running: 0,
            dead,
            parked: 0,
            workers: 0,
            oldest_ms: None,
            paused: false,
            deferred: 0,
            scheduled: 0,
            parked_requests: 0,
            limited: 0,
        })
    }

    missing! {
        fn other_queue_names(&self, &[String]) -> Vec<String>;
        fn queues(&self) -> Vec<QueueInfo>;
        fn listing(&self) -> Listing;
        fn workers(&self) -> Vec<WorkerInfo>;
        fn mapped_names(&self, &str) -> BTreeSet<String>;
        fn instance_state(&self, &str, &str) -> Option<InstanceState>;
    }
}

impl DeadOps for MemoryInspector {
    async fn time_ms(&self) -> Result<u64, StoreError> {
        Ok(1_000)
    }

    async fn letters(
        &self,
        keys: &QueueKeys,
        range: &LetterRange,
        max: usize,
    ) -> Result<LetterBatch, StoreError> {
        let data = self.0.data();
        let all = data.dead.get(&keys.dead()).into_iter().flatten();
        let mut letters: Vec<_> = all.filter(|letter| is_in(range, letter)).cloned().collect();
        if range.newest_first {
            letters.reverse();
        }
        let whole = letters.len() <= max;
        letters.truncate(max);
        Ok(LetterBatch { letters, whole })
    }

    async fn remove_letters(
        &self,
        keys: &QueueKeys,
        entries: &[String],
    ) -> Result<Vec<bool>, StoreError> {
        let mut data = self.0.data();
        let letters = data.dead.entry(keys.dead()).or_default();
        let remove = |entry: &String| {
            let before = letters.len();
            letters.retain(|letter| letter.entry != *entry);
            letters.len() < before
        };
        Ok(entries.iter().map(remove).collect())
    }

    async fn revive_letters(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        letters: &[Revival],
    ) -> Result<Vec<Revived>, StoreError> {
        let mut results = Vec::new();
        for Revival { entry, envelope, .. } in letters {
            let length = self.queue(keys.name()).await?.length;
            results.push(if max_length > 0 && length >= max_length {
                Revived::Full
            } else if self.remove_letters(keys, std::slice::from_ref(entry)).await? == [true] {
                let mut data = self.0.data();
                data.queues.entry(keys.queue()).or_default().push_back(envelope.clone());
                Revived::Yes
            } else {
                Revived::Gone
            });
        }
        Ok(results)
    }
}

impl DoctorOps for MemoryInspector {
    missing! {
        fn server_info(&self) -> ServerInfo;
        fn clock(&self, u32) -> Clock;
        fn missing_rights(&self, Role, &[&str]) -> Vec<MissingRight>;
        fn heads(&self, &[&str]) -> Vec<Option<Vec<u8>>>;
        fn stuck(&self, &str, Duration) -> Vec<StuckWorker>;
        fn kept_bytes(&self, &str) -> KeptBytes;
        fn census(&self, Duration, u64) -> KeyCensus;
        fn times_ahead(&self, &str, Duration) -> Vec<TimeAhead>;
        fn limit_faults(&self, &str, &[LimitRule], &[(String, String)]) -> Vec<LimitFault>;
    }
}
