//! Reading of answers: announcements, and response keys when an announcement was missed.
//!
//! The key is authoritative; the announcement only saves time. Keys are read after a reconnect,
//! when an announcement carries only an id, and for waiters without a recent announcement. They are
//! read and trimmed over a connection without subscriptions: Redis disconnects a subscriber whose
//! output buffer overflows.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::Pin;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redcall_common::frame::{Frame, FrameType};
use redcall_store::{AnswerOps as _, Connection, Session as _, StoreError};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::engine::deliveries::Deliveries;
use crate::engine::in_flight::{Due, InFlight};

const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// Maximum number of keys read in one round trip: one answer may have 8 MiB.
pub(crate) const BATCH_MAX: usize = 16;
/// Maximum number of commands taken at once.
const COMMANDS_MAX: usize = 1024;
/// The timeout of one read.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A command to the reader.
pub(crate) enum Wanted {
    /// Read the key of this request: it holds more than was announced.
    Key(String),
    /// Trim the frames of a stream that were read.
    Trim(Trim),
}

/// All frames at `key` up to and including `seq` of `attempt` were read and can be trimmed.
pub(crate) struct Trim {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) seq: u64,
}

/// An element of an announcement.
enum Entry {
    Frame(Frame),
    /// Id of a request whose frame was too large to announce.
    Id(String),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a frame or an id")
            }

            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Entry, E> {
                Ok(Entry::Id(id.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Frame::deserialize(MapAccessDeserializer::new(map)).map(Entry::Frame)
            }
        }
        reader.deserialize_any(Either)
    }
}

/// Parses an announcement; skips elements that cannot be parsed.
fn entries(payload: &[u8]) -> serde_json::Result<Vec<Entry>> {
    let text = std::str::from_utf8(payload).map_err(serde::de::Error::custom)?;
    let is_deferred =
        |entry: &Entry| matches!(entry, Entry::Frame(frame) if frame.kind == FrameType::Deferred);
    match serde_json::from_str::<Vec<Entry>>(text) {
        Ok(entries) if !entries.iter().any(is_deferred) => Ok(entries),
        // One by one: an element is invalid, or has more to read.
        _ => {
            let entries: Vec<&RawValue> = serde_json::from_str(text)?;
            let entries = entries.into_iter().map(|raw| match serde_json::from_str(raw.get())? {
                Entry::Frame(frame) => frame.complete(raw.get()).map(Entry::Frame),
                id => Ok(id),
            });
            Ok(entries.filter_map(serde_json::Result::ok).collect())
        }
    }
}

/// Processes one announcement. Runs inside the connection's own task: must not block.
pub(crate) fn on_announcement(
    payload: &[u8],
    in_flight: &InFlight,
    reread: &mpsc::UnboundedSender<Wanted>,
    deliveries: &Deliveries,
) {
    let Ok(entries) = entries(payload) else {
        tracing::warn!("invalid announcement, not a JSON array: falling back to response keys");
        return;
    };
    let mut by_id = Vec::new();
    let frames = entries.into_iter().filter_map(|entry| match entry {
        Entry::Frame(frame) => Some(frame),
        Entry::Id(id) => {
            by_id.push(id);
            None
        }
    });
    deliveries.pass(frames.collect());
    request_reads(by_id, in_flight, reread);
}

/// Has the keys of these requests read. A message may name any id, any number of times.
pub(crate) fn request_reads(
    ids: Vec<String>,
    in_flight: &InFlight,
    reread: &mpsc::UnboundedSender<Wanted>,
) {
    for id in ids.into_iter().filter(|id| in_flight.request_read(id)) {
        // The reader ends with the client, and so does the wait.
        let _ = reread.send(Wanted::Key(id));
    }
}

/// Reads response keys of waiters that missed a frame. Ends with the client.
pub(crate) struct Reader {
    /// Connection that receives announcements.
    calls: Weak<Connection>,
    /// Connection that reads response keys.
    reads: Weak<Connection>,
    in_flight: InFlight,
    wanted: mpsc::UnboundedReceiver<Wanted>,
    /// Number of keys in the next round trip: reduced after a failure.
    batch_size: usize,
    /// The size of the largest frame of a stream so far, bytes. Written and read by this task.
    largest: AtomicUsize,
    /// Reads and trims to be retried in the next sweep.
    unread: HashSet<String>,
    untrimmed: HashMap<String, Trim>,
}

impl Reader {
    pub(crate) fn new(
        calls: Weak<Connection>,
        reads: Weak<Connection>,
        in_flight: InFlight,
        wanted: mpsc::UnboundedReceiver<Wanted>,
    ) -> Self {
        let (unread, untrimmed) = (HashSet::new(), HashMap::new());
        let (batch_size, largest) = (BATCH_MAX, AtomicUsize::new(0));
        Self { calls, reads, in_flight, wanted, batch_size, largest, unread, untrimmed }
    }

    pub(crate) async fn run(mut self) {
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Some(mut reconnected) = reconnection(&self.calls) else { return };
        let mut commands = Vec::new();
        loop {
            let mut trims = HashMap::new();
            let due = tokio::select! {
                count = self.wanted.recv_many(&mut commands, COMMANDS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    let mut ids = HashSet::new();
                    for command in commands.drain(..) {
                        match command {
                            Wanted::Key(id) => drop(ids.insert(id)),
                            Wanted::Trim(trim) => drop(trims.insert(trim.key.clone(), trim)),
                        }
                    }
                    self.in_flight.of(&ids)
                }
                () = &mut reconnected => {
                    let Some(next) = reconnection(&self.calls) else { return };
                    reconnected = next;
                    self.in_flight.due(true)
                }
                _ = sweep.tick() => {
                    trims = std::mem::take(&mut self.untrimmed);
                    let mut due = self.in_flight.due(false);
                    due.extend(self.in_flight.of(&std::mem::take(&mut self.unread)));
                    due
                }
            };
            // HeldRequests only here: the link must end with the last client, not with this task.
            let Some(link) = self.reads.upgrade() else { return };
            self.trim_all(&link, trims).await;
            self.read_all(&link, &due).await;
        }
    }

    async fn read_all(&mut self, link: &Connection, mut due: &[Due]) {
        while !due.is_empty() {
            let (batch, rest) = due.split_at(self.batch_size.min(due.len()));
            if let Err(error) = self.read(link, batch).await {
                tracing::debug!(%error, "retrying read of response keys");
                // Reads that time out together may succeed one by one.
                self.batch_size = 1;
                self.unread.extend(due.iter().map(|due| due.id.clone()));
                return;
            }
            self.batch_size = (self.batch_size * 2).min(BATCH_MAX);
            due = rest;
        }
    }

    async fn read(&self, link: &Connection, batch: &[Due]) -> Result<(), StoreError> {
        let final_only = batch.iter().filter(|due| due.from.is_none());
        let keys: Vec<String> = final_only.map(|due| due.key.clone()).collect();
        if !keys.is_empty() {
            let last = link.last_frames(&keys, READ_TIMEOUT).await?;
            self.in_flight.deliver(last.into_iter().flatten().filter_map(|raw| parse(&raw)));
        }
        for due in batch {
            if let Some(from) = due.from {
                self.read_stream(link, due, from).await?;
            }
        }
        Ok(())
    }

    /// Reads a stream from index `from` to its end.
    async fn read_stream(
        &self,
        link: &Connection,
        due: &Due,
        mut from: u64,
    ) -> Result<(), StoreError> {
        let (mut first, mut moved) = (true, false);
        loop {
            let frames = link.frames(&due.key, from, READ_TIMEOUT).await?;
            let parsed = |raw: &Vec<u8>| {
                let frame = parse(raw)?;
                self.largest.fetch_max(raw.len(), Ordering::Relaxed);
                Some(frame)
            };
            let frames: Vec<Option<Frame>> = frames.iter().map(parsed).collect();
            let missed = self.in_flight.deliver(frames.iter().flatten().cloned());
            if from == 0 {
                // Every earlier frame is gone.
                self.in_flight.begins_with(&due.id, frames.iter().flatten().next());
                moved = true;
            }
            // Another reader trimmed the stream, or the job was restarted: indexes have changed.
            let elsewhere = match frames.is_empty() {
                true => first && link.frame_count(&due.key, READ_TIMEOUT).await? < from,
                false => !missed.is_empty(),
            };
            if elsewhere && !moved {
                self.in_flight.set_head(&due.id, None);
                from = 0;
            } else if frames.is_empty() || elsewhere {
                return Ok(());
            } else {
                from += frames.len() as u64;
            }
            first = false;
        }
    }

    async fn trim_all(&mut self, link: &Connection, trims: HashMap<String, Trim>) {
        for (key, trim) in trims {
            if let Err(error) = self.trim(link, &trim).await
                && self.in_flight.is_waiting(&trim.id)
            {
                tracing::debug!(%error, "retrying trim of stream");
                self.untrimmed.insert(key, trim);
            }
        }
    }

    /// Redis determines the start of the stream, since several readers may trim it.
    async fn trim(&self, link: &Connection, trim: &Trim) -> Result<(), StoreError> {
        let up_to = (trim.attempt, trim.seq);
        let largest = self.largest.load(Ordering::Relaxed);
        let head = link.trim(&trim.key, up_to, largest, READ_TIMEOUT).await;
        // After a failure it is unknown which frames are gone.
        self.in_flight.set_head(&trim.id, head.as_ref().ok().copied().flatten());
        head.map(drop)
    }
}

fn reconnection(link: &Weak<Connection>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    Some(Box::pin(link.upgrade()?.reconnected()))
}

/// Parses a frame; returns `None` for bytes that a worker cannot have written.
pub(crate) fn parse(raw: &[u8]) -> Option<Frame> {
    Frame::parse(raw).ok()
}
