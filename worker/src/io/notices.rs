//! What control messages have named, until the dispatcher looks at it.
//!
//! Channels know neither databases nor truth: a message may come from another database of the same
//! server, or from a neighbour who forges it. So none is believed. It only says where to look, and
//! however many arrive, what they ask for is kept once and looked at in bounded steps.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_common::store::Control;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A longer message is none of ours: `cancel.lua` names a hundred ids at once.
const LONGEST_MESSAGE: usize = 8 << 10;
/// How many ids of a queue are kept until the dispatcher takes them. A heartbeat finds the others.
const MOST_IDS: usize = 16_384;
/// How many deadlines one look reads: each is a command of its own.
const DEADLINES_AT_ONCE: usize = 16;
/// At most one look per queue in this time ...
const EVERY: Duration = Duration::from_millis(5);
/// ... but so many may be ahead of that: true messages come in bursts, and must not wait.
const BURST: u32 = 100;

/// What was named of one queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Whether it is paused.
    pub(crate) paused: bool,
    /// Whether there is something that an idle worker cannot see.
    pub(crate) work: bool,
    /// When something becomes due, Redis time in ms: the first time that was named.
    pub(crate) due_ms: Option<u64>,
    /// Which requests are cancelled.
    pub(crate) cancelled: HashSet<String>,
    /// Which requests have another deadline.
    pub(crate) extended: HashSet<String>,
}

/// Written by the task of the connection, read by the dispatcher.
pub(crate) struct Notices {
    channels: Vec<String>,
    queues: Mutex<Vec<Named>>,
    arrived: Notify,
}

impl Notices {
    /// Of these control channels, one per queue and in the order of the queues.
    pub(crate) fn new(channels: Vec<String>) -> Self {
        let queues = channels.iter().map(|_| Named::default()).collect();
        Self { channels, queues: Mutex::new(queues), arrived: Notify::new() }
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Named>> {
        // Nothing in here panics half-way.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message. Runs inside the connection's own task: does not block.
    pub(crate) fn receive(&self, channel: &[u8], message: &[u8]) {
        let queue = self.channels.iter().position(|name| name.as_bytes() == channel);
        let Some(queue) = queue.filter(|_| message.len() <= LONGEST_MESSAGE) else { return };
        let Some(control) = Control::parse(message) else { return };
        self.queues()[queue].add(control);
        self.arrived.notify_one();
    }

    /// Ends when something was received after the last time that it ended. Cancel safe.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// What was named since this was last asked, by queue.
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
                let room = MOST_IDS.saturating_sub(self.cancelled.len());
                self.cancelled.extend(ids.into_iter().take(room));
            }
            Control::Extend(id, _) if self.extended.len() < MOST_IDS => {
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

/// What of one queue is still to be looked at, and when that may be. Read and written by the
/// dispatcher alone.
pub(crate) struct Looks {
    named: Named,
    /// When something becomes due, as a message says.
    due: Option<Instant>,
    /// Whether a look at the keys is out.
    out: bool,
    /// Until when the looks so far are paid for.
    paid_until: Instant,
}

/// One look, as far as it goes by a command of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether keys are to be read: the pause, and the tombstones of these ids.
    pub(crate) state: Option<Vec<String>>,
    /// Whose deadlines are to be read.
    pub(crate) extended: Vec<String>,
    /// Whether a poll is to find out what there is to take.
    pub(crate) work: bool,
    /// Whether what is due is to be moved to the queue.
    pub(crate) due: bool,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self { named: Named::default(), due: None, out: false, paid_until: Instant::now() }
    }

    /// Adds what messages have named; `due` is the instant that they named.
    pub(crate) fn add(&mut self, named: Named, due: Option<Instant>) {
        self.named.paused |= named.paused;
        self.named.work |= named.work;
        self.named.cancelled.extend(named.cancelled);
        self.named.extended.extend(named.extended);
        self.due = [self.due, due].into_iter().flatten().min();
    }

    /// The look at the keys has ended.
    pub(crate) fn came_back(&mut self) {
        self.out = false;
    }

    /// When the next look may take place, if there is something to look at.
    pub(crate) fn next(&self) -> Option<Instant> {
        let Named { paused, work, cancelled, extended, .. } = &self.named;
        let reads = (*paused || !cancelled.is_empty()) && !self.out;
        let now = reads || *work || !extended.is_empty();
        let allowed = self.paid_until.checked_sub(BURST * EVERY).unwrap_or(self.paid_until);
        let at = if now { Some(allowed) } else { self.due };
        at.map(|at| at.max(allowed))
    }

    /// What is to be looked at now.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Look> {
        self.next().filter(|at| *at <= now)?;
        self.paid_until = self.paid_until.max(now) + EVERY;
        let mut look = Look {
            work: std::mem::take(&mut self.named.work),
            due: self.due.take_if(|due| *due <= now).is_some(),
            ..Look::default()
        };
        if !self.out && (self.named.paused || !self.named.cancelled.is_empty()) {
            self.named.paused = false;
            self.out = true;
            look.state = Some(self.named.cancelled.drain().collect());
        }
        let first: Vec<String> =
            self.named.extended.iter().take(DEADLINES_AT_ONCE).cloned().collect();
        for id in first {
            self.named.extended.remove(&id);
            look.extended.push(id);
        }
        Some(look)
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
    fn messages_beyond_all_bounds_are_left_out() {
        let notices = notices();
        let long = format!("cancel {}", "x".repeat(LONGEST_MESSAGE));
        notices.receive(b"one", long.as_bytes());
        assert_eq!(notices.take(), []);
        for n in 0..MOST_IDS {
            notices.receive(b"one", format!("cancel a{n} b{n}").as_bytes());
            notices.receive(b"one", format!("extend a{n} 0").as_bytes());
            notices.receive(b"one", format!("extend b{n} 0").as_bytes());
        }
        let (_, named) = notices.take().remove(0);
        assert_eq!((named.cancelled.len(), named.extended.len()), (MOST_IDS, MOST_IDS));
    }

    #[test]
    fn a_flood_of_messages_is_looked_at_in_bounded_steps() {
        let (start, mut looks) = (Instant::now(), Looks::new());
        let mut begun = 0;
        for ms in 0..1000 {
            looks.add(Named { work: true, ..Named::default() }, Some(start));
            begun += u32::from(looks.begin(start + Duration::from_millis(ms)).is_some());
        }
        assert!((BURST + 190..=BURST + 201).contains(&begun), "{begun} looks in a second");
        let next = looks.begin(start + Duration::from_secs(10)).or_else(|| {
            looks.add(Named { work: true, ..Named::default() }, None);
            looks.begin(start + Duration::from_secs(10))
        });
        assert!(next.unwrap().work, "a message after the flood waits for nothing");
    }

    #[test]
    fn one_look_at_the_keys_is_out_at_a_time_and_takes_what_came_before() {
        let (now, mut looks) = (Instant::now(), Looks::new());
        let cancel = |id: &str| Named { cancelled: [id.to_owned()].into(), ..Named::default() };
        looks.add(cancel("a"), None);
        assert_eq!(looks.begin(now).unwrap().state, Some(vec!["a".to_owned()]));
        looks.add(cancel("b"), None);
        looks.add(Named { paused: true, ..Named::default() }, None);
        assert_eq!((looks.next(), looks.begin(now)), (None, None));
        looks.came_back();
        assert_eq!(looks.begin(now).unwrap().state, Some(vec!["b".to_owned()]));
    }

    #[test]
    fn what_becomes_due_later_is_looked_at_then() {
        let (now, mut looks) = (Instant::now(), Looks::new());
        let later = now + Duration::from_secs(60);
        looks.add(Named::default(), Some(later));
        assert_eq!((looks.next(), looks.begin(now)), (Some(later), None));
        let look = looks.begin(later).unwrap();
        assert_eq!(look, Look { due: true, ..Look::default() });
        assert_eq!(looks.next(), None);
    }
}
