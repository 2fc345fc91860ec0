//! Control messages: collected until the dispatcher reads the state that they name.
//!
//! Channels know neither databases nor senders: a message may come from another database of the
//! same server, or be forged. It names what to read at Redis, and nothing in it is acted on. Any
//! number of messages is kept as one set of names per queue, and read in steps of a bounded rate.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_store::Control;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A longer message is ignored: `cancel.lua` names a hundred ids at once, in 6.5 KiB.
const MAX_MESSAGE: usize = 8 << 10;
/// Most ids of a queue that are kept. A heartbeat finds the others.
const MAX_IDS: usize = 16_384;
/// Most deadlines read at once: each is a command of its own.
const MAX_DEADLINES: usize = 16;
/// Minimum time between two reads of a queue, on average.
const EVERY: Duration = Duration::from_millis(5);
/// Most reads without that time between them: valid messages come in bursts, and must not wait.
const BURST: u32 = 100;

/// The state of one queue that messages have named.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// The pause of the queue.
    pub(crate) paused: bool,
    /// Requests that an idle worker cannot see.
    pub(crate) work: bool,
    /// The first due time that was named, Redis time in ms.
    pub(crate) due_ms: Option<u64>,
    /// The tombstones of these ids.
    pub(crate) cancelled: HashSet<String>,
    /// The deadlines of these ids.
    pub(crate) extended: HashSet<String>,
}

/// See the module. Written by the connection's task, read by the dispatcher.
pub(crate) struct Notices {
    channels: Vec<String>,
    queues: Mutex<Vec<Named>>,
    arrived: Notify,
}

impl Notices {
    /// Returns empty notices for these control channels, one per queue, in the order of the queues.
    pub(crate) fn new(channels: Vec<String>) -> Self {
        let queues = channels.iter().map(|_| Named::default()).collect();
        Self { channels, queues: Mutex::new(queues), arrived: Notify::new() }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Named>> {
        // No code in here panics half-way.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message. Runs inside the connection's own task: does not block.
    pub(crate) fn receive(&self, channel: &[u8], message: &[u8]) {
        let queue = self.channels.iter().position(|name| name.as_bytes() == channel);
        let Some(queue) = queue.filter(|_| message.len() <= MAX_MESSAGE) else { return };
        let Some(control) = Control::parse(message) else { return };
        self.queues()[queue].add(control);
        self.arrived.notify_one();
    }

    /// Completes once a message was received since it last completed. Cancel safe.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Returns the names since the last call, by queue.
    pub(crate) fn take(&self) -> Vec<(usize, Named)> {
        let mut queues = self.queues();
        let named = queues.iter_mut().map(std::mem::take).enumerate();
        named.filter(|(_, named)| *named != Named::default()).collect()
    }
}

impl Named {
    fn add(&mut self, control: Control) {
        match control {
            Control::Cancel(ids) => {
                let room = MAX_IDS.saturating_sub(self.cancelled.len());
                self.cancelled.extend(ids.into_iter().take(room));
            }
            Control::Extend(id, _) if self.extended.len() < MAX_IDS => {
                self.extended.insert(id);
            }
            Control::Extend(..) => {}
            Control::Due(at_ms) => {
                self.due_ms = Some(self.due_ms.map_or(at_ms, |due| due.min(at_ms)));
            }
            Control::Work => self.work = true,
            Control::Pause | Control::Resume => self.paused = true,
        }
    }
}

/// The names of one queue that wait to be read, and the time of the next read. Read and written by
/// the dispatcher alone.
pub(crate) struct Reads {
    named: Named,
    /// The due time that a message named.
    due: Option<Instant>,
    /// A read of the keys is in flight.
    in_flight: bool,
    /// The time up to which the reads so far use up the rate.
    used_until: Instant,
}

/// The names to read at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// The pause, and the tombstones of these ids.
    pub(crate) state: Option<Vec<String>>,
    /// The deadlines of these ids.
    pub(crate) extended: Vec<String>,
    /// Read by a poll: the requests that it may lease.
    pub(crate) work: bool,
    /// Read by a promotion: due requests move to the queue.
    pub(crate) due: bool,
}

impl Reads {
    pub(crate) fn new() -> Self {
        Self { named: Named::default(), due: None, in_flight: false, used_until: Instant::now() }
    }

    /// Adds names; `due` is the instant of their due time.
    pub(crate) fn add(&mut self, named: Named, due: Option<Instant>) {
        self.named.paused |= named.paused;
        self.named.work |= named.work;
        self.named.cancelled.extend(named.cancelled);
        self.named.extended.extend(named.extended);
        self.due = [self.due, due].into_iter().flatten().min();
    }

    /// The read of the keys has ended.
    pub(crate) fn returned(&mut self) {
        self.in_flight = false;
    }

    /// Returns the time of the next read; `None` while there is nothing to read.
    pub(crate) fn next(&self) -> Option<Instant> {
        let Named { paused, work, cancelled, extended, .. } = &self.named;
        let reads = (*paused || !cancelled.is_empty()) && !self.in_flight;
        let now = reads || *work || !extended.is_empty();
        let allowed = self.used_until.checked_sub(BURST * EVERY).unwrap_or(self.used_until);
        let at = if now { Some(allowed) } else { self.due };
        at.map(|at| at.max(allowed))
    }

    /// Returns the names to read at `now`; `None` if the next read comes later.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Read> {
        self.next().filter(|at| *at <= now)?;
        self.used_until = self.used_until.max(now) + EVERY;
        let mut read = Read {
            work: std::mem::take(&mut self.named.work),
            due: self.due.take_if(|due| *due <= now).is_some(),
            ..Read::default()
        };
        if !self.in_flight && (self.named.paused || !self.named.cancelled.is_empty()) {
            self.named.paused = false;
            self.in_flight = true;
            read.state = Some(self.named.cancelled.drain().collect());
        }
        let first: Vec<String> = self.named.extended.iter().take(MAX_DEADLINES).cloned().collect();
        for id in first {
            self.named.extended.remove(&id);
            read.extended.push(id);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notices() -> Notices {
        Notices::new(vec!["one".to_owned(), "two".to_owned()])
    }

    #[test]
    fn messages_of_a_queue_are_kept_once_and_taken_once() {
        let notices = notices();
        for message in ["pause", "resume", "work", "due 9", "due 7", "cancel a b", "cancel b"] {
            notices.receive(b"two", message.as_bytes());
        }
        notices.receive(b"two", b"extend c 5");
        notices.receive(b"three", b"pause");
        notices.receive(b"one", b"explode");
        let named = Named {
            paused: true,
            work: true,
            due_ms: Some(7),
            cancelled: ["a", "b"].map(str::to_owned).into(),
            extended: ["c".to_owned()].into(),
        };
        assert_eq!(notices.take(), [(1, named)]);
        assert_eq!(notices.take(), []);
    }

    #[test]
    fn messages_over_the_bounds_are_dropped() {
        let notices = notices();
        let long = format!("cancel {}", "x".repeat(MAX_MESSAGE));
        notices.receive(b"one", long.as_bytes());
        assert_eq!(notices.take(), []);
        for n in 0..MAX_IDS {
            notices.receive(b"one", format!("cancel a{n} b{n}").as_bytes());
            notices.receive(b"one", format!("extend a{n} 0").as_bytes());
            notices.receive(b"one", format!("extend b{n} 0").as_bytes());
        }
        let (_, named) = notices.take().remove(0);
        assert_eq!((named.cancelled.len(), named.extended.len()), (MAX_IDS, MAX_IDS));
    }

    #[test]
    fn flood_of_messages_is_read_in_bounded_steps() {
        let (start, mut reads) = (Instant::now(), Reads::new());
        let mut begun = 0;
        for ms in 0..1000 {
            reads.add(Named { work: true, ..Named::default() }, Some(start));
            begun += u32::from(reads.begin(start + Duration::from_millis(ms)).is_some());
        }
        assert!((BURST + 190..=BURST + 201).contains(&begun), "{begun} reads in a second");
        let next = reads.begin(start + Duration::from_secs(10)).or_else(|| {
            reads.add(Named { work: true, ..Named::default() }, None);
            reads.begin(start + Duration::from_secs(10))
        });
        assert!(next.unwrap().work, "a message after the flood is handled at once");
    }

    #[test]
    fn one_read_of_the_keys_is_in_flight_at_a_time() {
        let (now, mut reads) = (Instant::now(), Reads::new());
        let cancel = |id: &str| Named { cancelled: [id.to_owned()].into(), ..Named::default() };
        reads.add(cancel("a"), None);
        assert_eq!(reads.begin(now).unwrap().state, Some(vec!["a".to_owned()]));
        reads.add(cancel("b"), None);
        reads.add(Named { paused: true, ..Named::default() }, None);
        assert_eq!((reads.next(), reads.begin(now)), (None, None));
        reads.returned();
        assert_eq!(reads.begin(now).unwrap().state, Some(vec!["b".to_owned()]));
    }

    #[test]
    fn later_due_time_is_handled_when_due() {
        let (now, mut reads) = (Instant::now(), Reads::new());
        let later = now + Duration::from_secs(60);
        reads.add(Named::default(), Some(later));
        assert_eq!((reads.next(), reads.begin(now)), (Some(later), None));
        let read = reads.begin(later).unwrap();
        assert_eq!(read, Read { due: true, ..Read::default() });
        assert_eq!(reads.next(), None);
    }
}
