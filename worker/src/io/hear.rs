//! What the dispatcher hears from heartbeats, from the control channels, and from its timers.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::event::COMMAND_RESULT;
use redcall_store::{Heartbeat, Link, QueueState};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::heartbeat::{self, Told};
use super::jobs::Why;
use super::notices::Notices;
use super::rights::Rights;
use super::schedules::Schedules;

/// Pause before a promotion that failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What the dispatcher says to, and hears from, tasks and other workers.
pub(crate) struct Talk {
    pub(crate) told: mpsc::UnboundedSender<Told>,
    /// Taken by [`Dispatcher::run`].
    pub(crate) hearing: Option<mpsc::UnboundedReceiver<Told>>,
    /// Names of control messages.
    pub(crate) notices: Arc<Notices>,
    /// Heartbeats have a connection of their own, with the ticks of schedules: large answers must
    /// not hold them up. It hears the control channels.
    pub(crate) beats: Arc<Link>,
    /// Held by the task that does what follows a round of heartbeats.
    pub(crate) follow_up: Arc<tokio::sync::Mutex<()>>,
    /// What its user may do at Redis.
    pub(crate) rights: Rights,
    /// Until the end: where the last workers drain, what they enqueue waits for the next ones.
    pub(crate) schedules: Schedules,
}

impl Dispatcher {
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::RoundEnded => {
                self.beating = None;
                if self.say_again {
                    self.beat();
                }
            }
            Told::TakenOver { queue, count } => {
                self.metrics.took_over(count);
                self.queues[queue].length = None;
            }
            Told::Rights(missing) => self.talk.rights.answered(missing),
            Told::ProbePut(put) => self.probe.put(put),
            Told::Beat { queue, heartbeat } => self.heartbeat(queue, heartbeat),
            Told::Looked { queue, state } => self.looked(queue, state),
            Told::Promoted { queue, promoted } => {
                let due = match promoted {
                    Some(promoted) => promoted.due_ms.map(|due| self.instant_of(due)),
                    None => Some(Instant::now() + PAUSE),
                };
                let queue = &mut self.queues[queue];
                if let Some(due) = due {
                    queue.note_due(due);
                }
                if promoted.is_some_and(|promoted| promoted.moved > 0) {
                    queue.length = None;
                }
            }
        }
    }

    fn heartbeat(&mut self, queue: usize, heartbeat: Heartbeat) {
        let mapped = |name: &str| self.mapping.get(name).is_some();
        // What nobody maps any more is taken as well, and answered as unknown.
        let ours = |names: Vec<(String, bool)>| {
            let ours = names.into_iter().filter(|(name, live)| !live || mapped(name));
            ours.map(|(name, _)| name).collect()
        };
        let (parked, limited) = (ours(heartbeat.parked), ours(heartbeat.limited));
        let due = heartbeat.due_ms.map(|due| self.instant_of(due));
        self.probe.beat();
        let own = &mut self.queues[queue];
        own.fetch.beat();
        own.parked = parked;
        own.limited = limited;
        own.note_paused(heartbeat.paused);
        if !own.limited.is_empty() {
            // Whoever has left some of it to others may not have been heard.
            own.stir();
        }
        if let Some(due) = due {
            own.note_due(due);
        }
        if !heartbeat.known {
            // Others took over what it held.
            own.doubt();
        }
        self.compare(queue, heartbeat.held);
        let own = &self.queues[queue];
        if own.unsure && own.popping {
            // What it holds is read back only when nothing more can come from the pop.
            own.pops.unblock(&self.shared.link);
        }
        for id in &heartbeat.cancelled {
            self.jobs.end_by_id(queue, id, &Why::Cancelled);
        }
        if heartbeat.over {
            let topic = self.keys.events(COMMAND_RESULT);
            let (link, shared) = (self.talk.beats.clone(), self.shared.clone());
            let keys = self.queues[queue].keys.clone();
            tokio::spawn(heartbeat::expire(link, keys, topic, shared));
        }
        if self.connected_since.elapsed() < self.lease {
            return;
        }
        for dead in heartbeat.dead {
            let (link, told) = (self.talk.beats.clone(), self.talk.told.clone());
            let keys = self.queues[queue].keys.clone();
            tokio::spawn(heartbeat::take_over(link, keys, queue, dead, told));
        }
    }

    /// The last net under lost replies: more or fewer leases than are known here, twice in a row
    /// (once may be a reply on its way), are read back.
    fn compare(&mut self, queue: usize, held: usize) {
        let (known, open) = self.jobs.count(queue);
        let queue = &mut self.queues[queue];
        let expected = open..=known + queue.outcomes().count();
        queue.odd = if expected.contains(&held) { 0 } else { queue.odd + 1 };
        if queue.odd > 1 {
            queue.doubt();
        }
    }

    /// Takes the names of control messages. Of requests only those matter that run here.
    pub(super) fn received(&mut self) {
        for (queue, mut named) in self.talk.notices.take() {
            named.cancelled.retain(|id| self.jobs.runs(queue, id));
            named.extended.retain(|id| self.jobs.runs(queue, id));
            let due = named.due_ms.map(|at_ms| self.instant_of(at_ms));
            self.queues[queue].looks.add(named, due);
            self.look_at_named(queue);
        }
    }

    /// Reads the state that control messages have named, unless a look comes later.
    fn look_at_named(&mut self, queue: usize) {
        let own = &mut self.queues[queue];
        let Some(look) = own.looks.begin(Instant::now()) else { return };
        if look.work {
            own.stir();
        }
        for id in &look.extended {
            self.jobs.ask_for_time(queue, id);
        }
        if look.due {
            self.promote(queue);
        }
        if let Some(ids) = look.state {
            let (link, told) = (self.talk.beats.clone(), self.talk.told.clone());
            let keys = self.queues[queue].keys.clone();
            tokio::spawn(heartbeat::look(link, keys, queue, ids, told));
        }
    }

    /// Acts on the state that was read.
    fn looked(&mut self, queue: usize, state: Option<QueueState>) {
        let own = &mut self.queues[queue];
        own.looks.came_back();
        if let Some(QueueState { paused, cancelled }) = state {
            own.note_paused(paused);
            for id in &cancelled {
                self.jobs.end_by_id(queue, id, &Why::Cancelled);
            }
        }
        self.look_at_named(queue);
    }

    /// Has what is due moved to its queue.
    fn promote(&mut self, queue: usize) {
        let is_limited = self.mapping.is_limited();
        let own = &mut self.queues[queue];
        // A rate may allow more; of what was sorted since the last heartbeat, too.
        if is_limited || !own.limited.is_empty() {
            own.stir();
        }
        let (link, told) = (self.talk.beats.clone(), self.talk.told.clone());
        tokio::spawn(heartbeat::promote(link, own.keys.clone(), queue, told));
    }

    /// Looks whether it stood still for so long that its lease may have ended, and has what it
    /// holds read back then. Leases are renewed every third of their time.
    pub(super) fn note_standstill(&mut self) {
        if self.awake.elapsed() > self.lease / 2 {
            for queue in &mut self.queues {
                queue.stood_still = true;
                queue.doubt();
            }
        }
        self.awake = Instant::now();
    }

    /// Looks at the queues whose time has come.
    pub(super) fn look(&mut self) {
        for queue in 0..self.queues.len() {
            if self.queues[queue].look() {
                self.promote(queue);
            }
            self.look_at_named(queue);
        }
    }

    /// The instant of a Redis time.
    pub(super) fn instant_of(&self, at_ms: u64) -> Instant {
        let left = self.talk.beats.left_until(at_ms);
        // Nothing that is further off needs a timer of this process.
        Instant::now() + left.min(Duration::from_secs(86_400))
    }
}
