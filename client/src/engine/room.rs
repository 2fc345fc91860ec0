//! The known room of a queue. While it is known to be large enough, requests are pushed by plain
//! commands, which check nothing before; otherwise a script decides.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_store::{HeldRequests, PushChecks, PushReply};
use tokio::time::Instant;

/// More elements per second than any number of clients can push: one thread of Redis executes their
/// commands.
const ELEMENTS_PER_S: f64 = 2_500_000.0;
/// Caps below this number leave too little time between two checks: the script decides always.
const MIN_CAP: u64 = 25_000;
/// The room is worth a check only if the queue was used this recently.
const RECENT: Duration = Duration::from_millis(400);
/// How long the marks of a queue are used: that its answers are at their limit, and that requests
/// wait outside of the list. Workers update the first one each second.
const MARKS: Duration = Duration::from_millis(100);
/// How long a queue without a cap has room.
const LONG: Duration = Duration::from_secs(365 * 86_400);

/// The room of one queue. Read by the sender, and by callers that write by themselves; written by
/// the sender and the reader of direct pushes.
pub(crate) struct Room {
    /// Maximum number of requests; 0 for no cap.
    cap: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Requests outside of the list, and when they were counted.
    outside: Option<(u64, Instant)>,
    /// When the marks of the queue were read, by a push.
    marks_at: Option<Instant>,
    /// The queue has room for one request until then, whatever others push.
    free_until: Option<Instant>,
    /// `true` if the last write found a live worker, and the answers below their limit.
    takes_waited: bool,
    used_at: Option<Instant>,
}

impl Room {
    pub(crate) fn new(cap: u64) -> Self {
        Self { cap, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each field alone is consistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cap(&self) -> u64 {
        self.cap
    }

    /// Returns how many more requests fit if the queue holds `held`.
    pub(crate) fn free(&self, held: HeldRequests) -> u64 {
        match self.cap {
            0 => u64::MAX,
            cap => cap.saturating_sub(held.queued.saturating_add(held.outside)),
        }
    }

    /// Returns `true` if `count` requests can be pushed at `now` without a script.
    pub(crate) fn allows(&self, count: usize, waited: bool, now: Instant) -> bool {
        let known = self.lock();
        let has_room = self.cap == 0
            || known.free_until.is_some_and(|until| now + time_for(count as f64) <= until);
        has_room && (known.takes_waited || !waited)
    }

    /// Returns the checks of a write of requests at `now`. The marks are read again before a
    /// quarter of the time is over in which the queue is known to have room.
    pub(crate) fn checks(&self, waited: bool, now: Instant) -> PushChecks {
        let known = self.lock();
        let is_old = |read_at: Instant| {
            let lasts = known.free_until.map_or(Duration::ZERO, |until| until - read_at);
            let lasts = if self.cap == 0 { LONG } else { lasts };
            now.saturating_duration_since(read_at) >= MARKS.min(lasts / 4)
        };
        let is_wanted = waited || self.cap > 0;
        PushChecks { workers: waited, marks: is_wanted && known.marks_at.is_none_or(is_old) }
    }

    /// Returns `true` if a write at `now` should read the number of held requests: soon another
    /// one follows.
    pub(crate) fn is_check_due(&self, now: Instant) -> bool {
        let last = self.lock().used_at.replace(now);
        self.cap >= MIN_CAP && last.is_some_and(|last| now.duration_since(last) < RECENT)
    }

    /// Notes whether the script has accepted the waited requests of a write.
    pub(crate) fn note_waited(&self, taken: bool) {
        self.lock().takes_waited = taken;
    }

    /// Notes the number of held requests, read at `checked_at`.
    pub(crate) fn note_held(&self, checked_at: Instant, held: HeldRequests) {
        let mut known = self.lock();
        known.outside = Some((held.outside, checked_at));
        known.free_until = self.free_until(held, checked_at);
    }

    /// Notes the reply to a push that was written at `written_at`.
    pub(crate) fn note_push(&self, written_at: Instant, checks: PushChecks, reply: &PushReply) {
        let mut known = self.lock();
        known.used_at = Some(written_at);
        if checks.workers {
            known.takes_waited = reply.served == Some(true) && !reply.answers_full;
        }
        if checks.marks {
            known.marks_at = Some(written_at);
        }
        if !reply.outside {
            known.outside = Some((0, written_at));
        }
        let length = reply.commands.iter().rev().find_map(|(_, length)| length.as_ref().ok());
        known.free_until = match (length, known.outside) {
            (Some(length), Some((outside, at))) => {
                self.free_until(HeldRequests { queued: *length, outside }, at)
            }
            _ => None,
        };
    }

    /// Returns by how many requests the queue is over its cap if its list has this length.
    pub(crate) fn excess(&self, length: u64) -> u64 {
        let outside = self.lock().outside.map_or(0, |(outside, _)| outside);
        match self.cap {
            0 => 0,
            cap => length.saturating_add(outside).saturating_sub(cap),
        }
    }

    /// Forgets everything: the connection broke, and the server may be another.
    pub(crate) fn forget(&self) {
        *self.lock() = Known::default();
    }

    fn free_until(&self, held: HeldRequests, at: Instant) -> Option<Instant> {
        Some(at + time_for(self.free(held) as f64).min(LONG))
    }
}

/// Returns the least time in which this number of elements can be pushed.
fn time_for(elements: f64) -> Duration {
    Duration::try_from_secs_f64(elements / ELEMENTS_PER_S).unwrap_or(LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(length: u64, outside: bool) -> PushReply {
        let commands = vec![(1, Ok(length))];
        PushReply { commands, served: Some(true), outside, answers_full: false }
    }

    const ALL: PushChecks = PushChecks { workers: true, marks: true };

    fn after(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn room_is_used_up_by_time_and_by_requests() {
        let (room, now) = (Room::new(1_000_000), Instant::now());
        assert!(!room.allows(1, false, now), "nothing is known");
        room.note_held(now, HeldRequests { queued: 400_000, outside: 100_000 });
        assert!(room.allows(1, false, now + after(199)));
        assert!(!room.allows(1, false, now + after(200)));
        assert!(room.allows(250_000, false, now + after(100)));
        assert!(!room.allows(250_001, false, now + after(100)));
        assert!(!room.allows(1, true, now), "no worker is known");
        room.note_waited(true);
        assert!(room.allows(1, true, now));
    }

    #[test]
    fn push_renews_the_room_unless_requests_wait_outside_of_the_list() {
        let (room, now) = (Room::new(1_000_000), Instant::now());
        let checks = room.checks(false, now);
        room.note_push(now, checks, &reply(10, true));
        assert!(!room.allows(1, false, now), "the number outside is unknown");
        room.note_push(now, checks, &reply(10, false));
        assert!(room.allows(1, false, now + after(399)));
        room.note_push(now + after(300), checks, &reply(10, true));
        assert!(!room.allows(1, false, now + after(401)), "outside was counted 401 ms ago");
        room.note_push(now + after(300), checks, &reply(10, false));
        assert!(room.allows(1, false, now + after(600)));
        room.forget();
        assert!(!room.allows(1, false, now));
    }

    #[test]
    fn waited_request_needs_the_worker_of_the_last_push() {
        let (room, now) = (Room::new(0), Instant::now());
        assert!(room.allows(1, false, now) && !room.allows(1, true, now));
        room.note_waited(true);
        assert!(room.allows(1, true, now));
        let none = PushReply { served: Some(false), ..reply(1, true) };
        room.note_push(now, PushChecks::NONE, &none);
        assert!(room.allows(1, true, now), "it was not checked");
        room.note_push(now, ALL, &none);
        assert!(!room.allows(1, true, now));
        room.note_push(now, ALL, &reply(1, true));
        assert!(room.allows(1, true, now));
        let full = PushReply { answers_full: true, ..reply(1, true) };
        room.note_push(now, ALL, &full);
        assert!(!room.allows(1, true, now));
    }

    #[test]
    fn marks_are_read_before_they_or_a_quarter_of_the_room_are_old() {
        let (room, now) = (Room::new(1_000_000), Instant::now());
        let marks = |waited, ms| room.checks(waited, now + after(ms)).marks;
        assert!(marks(false, 0) && marks(true, 0), "never read");
        room.note_push(now, ALL, &reply(10, false));
        assert!(!marks(false, 99) && !marks(true, 99));
        assert!(marks(false, 100) && marks(true, 100));
        // 100,000 more fit, for 40 ms.
        room.note_push(now, ALL, &reply(900_000, false));
        assert!(!marks(false, 9) && marks(false, 10));
        // A push without that check renews neither.
        room.note_push(now + after(9), PushChecks::NONE, &reply(900_000, true));
        assert!(marks(false, 10));
        room.note_push(now, ALL, &reply(10, true));
        room.note_push(now, PushChecks::NONE, &reply(10, true));
        assert!(!room.allows(1, false, now + after(401)));

        let room = Room::new(0);
        let marks = |waited, ms| room.checks(waited, now + after(ms)).marks;
        assert!(marks(true, 0) && !marks(false, 0), "without a cap, only answers have a limit");
        room.note_push(now, ALL, &reply(10, true));
        assert!(!marks(true, 99) && marks(true, 100));
        room.forget();
        assert!(marks(true, 0));
    }

    #[test]
    fn excess_counts_what_waits_outside_of_the_list() {
        let (room, now) = (Room::new(100), Instant::now());
        assert_eq!((room.excess(100), room.excess(103)), (0, 3));
        room.note_held(now, HeldRequests { queued: 0, outside: 10 });
        assert_eq!((room.excess(90), room.excess(100)), (0, 10));
        assert_eq!(Room::new(0).excess(1 << 40), 0);
    }

    #[test]
    fn small_cap_and_rare_use_are_left_to_the_script() {
        let now = Instant::now();
        let (small, room) = (Room::new(10), Room::new(1_000_000));
        assert!(!small.is_check_due(now) && !small.is_check_due(now));
        assert!(!room.is_check_due(now));
        assert!(room.is_check_due(now + after(399)));
        assert!(!room.is_check_due(now + after(900)));
    }
}
