//! Workers, callers and faults around one queue: all that may happen, in any order.
//!
//! | file | holds |
//! |---|---|
//! | `world/worker.rs` | what a worker knows, as in `worker/src/io/` |
//! | `world/steps.rs` | which steps there are, and what they change |
//! | `world/failing.rs` | scripts that fail at one of their commands |
//! | `world/renumber.rs` | which worlds are the same but for numbers |
//! | `world/properties.rs` | what must always hold |
//!
//! A step is what happens at once: a script in Redis, or a worker taking note of one reply. Between
//! any two of them a worker may crash or stand still, and a reply may get lost.

mod failing;
mod properties;
mod renumber;
mod steps;
mod worker;

use stateright::{Model, Property};

use crate::store::{Fault, Id, Registered, Store};
pub use failing::Script;
pub use properties::{
    CANCELLED_STAYS, EVERYTHING_ENDS, FENCED, NOTHING_LOST, ONE_PLACE, POISON_STOPS, SAYS_THE_SAME,
    SETTLED_ONCE,
};
pub use steps::Step;
pub use worker::{Job, Life, Pop, Send, Taken, Worker};

/// The frame that ends a request.
pub(crate) const END: u8 = 1;

/// How much of everything there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// How many workers run at the same time; who has crashed is started anew.
    pub workers: usize,
    /// How many requests are called for.
    pub requests: Id,
    /// The last of the requests is due later.
    pub delayed: bool,
    /// What may happen besides.
    pub faults: Faults,
    /// After how many crashes a request is given up.
    pub max_crashes: u8,
    /// What is broken on purpose.
    pub fault: Option<Fault>,
}

/// How often something happens that need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// Workers that crash.
    pub crashes: u8,
    /// Workers that stand still for a time.
    pub stops: u8,
    /// Replies, or commands, that get lost.
    pub lost: u8,
    /// Handlers that fail; what has failed once is not tried again.
    pub fails: u8,
    /// Requests that are cancelled.
    pub cancels: u8,
    /// Scripts that fail at one of their commands.
    pub scripts: u8,
}

/// What went wrong in a step, for the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A worker settled what it had not leased.
    SettledWithoutLease,
    /// A request was started that had been cancelled before it was leased.
    StartedAfterCancel,
    /// A request was started that had been given up.
    StartedTooOften,
    /// A poll that was sent again did not say what it had said.
    SaidOtherwise,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// Redis.
    pub store: Store,
    /// The workers, in the order of the store's.
    pub workers: Vec<Worker>,
    /// How many requests have been called for, in order.
    pub called: Id,
    /// Which of them have been cancelled.
    pub cancelled: Vec<Id>,
    /// From how many workers each has been taken over.
    pub crashed: Vec<u8>,
    /// What may still happen.
    pub left: Faults,
    /// What has gone wrong.
    pub wrong: Option<Wrong>,
}

impl World {
    /// How often a request has ended.
    #[must_use]
    pub fn ends(&self, id: Id) -> usize {
        self.store.frames[usize::from(id)].iter().filter(|frame| **frame == END).count()
    }

    /// Whether somebody still waits for something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        (0..self.called).any(|id| self.ends(id) == 0)
    }

    fn requests(&self) -> Id {
        Id::try_from(self.crashed.len()).unwrap_or(Id::MAX)
    }

    /// The same with the workers in an order of their own: which of two is which changes nothing,
    /// and who has left no trace is as good as one that has not been started. What a poll has said
    /// counts only as long as it may be sent again, and of what has ended nothing does.
    fn canonical(mut self) -> Self {
        for id in (0..self.called).filter(|id| self.ends(*id) > 0).collect::<Vec<_>>() {
            self.crashed[usize::from(id)] = 0;
            self.cancelled.retain(|one| *one != id);
        }
        for (worker, holder) in self.workers.iter_mut().zip(&mut self.store.holders) {
            if !worker.may_send_again() {
                (worker.said, holder.poll) = (None, None);
                worker.serial = if worker.send == Send::No { 0 } else { worker.serial };
            }
            let traceless = holder.registered == Registered::No
                && holder.inbox.is_empty()
                && holder.leases.is_empty()
                && worker.pop == Pop::No;
            if worker.life == Life::Dead && traceless {
                *worker = Worker::default();
            }
        }
        self.sort_workers();
        // Before all have been called for, their order is fixed.
        if self.called == self.requests() {
            self.renumber();
            self.sort_workers();
        }
        self.store.dead.sort_unstable();
        self
    }

    fn sort_workers(&mut self) {
        for end in (1..self.workers.len()).rev() {
            for at in 0..end {
                let (workers, holders) = (&mut self.workers, &mut self.store.holders);
                if (&workers[at], &holders[at]) > (&workers[at + 1], &holders[at + 1]) {
                    workers.swap(at, at + 1);
                    holders.swap(at, at + 1);
                }
            }
        }
    }
}

impl Model for Bounds {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let slots = self.workers + usize::from(self.faults.crashes);
        let requests = usize::from(self.requests);
        let mut store = Store { fault: self.fault, ..Store::new(slots, requests) };
        let mut workers = vec![Worker::default(); slots];
        for at in 0..self.workers {
            workers[at].life = Life::Running;
            store.holders[at].registered = Registered::Alive;
        }
        let world = World {
            store,
            workers,
            called: 0,
            cancelled: Vec::new(),
            crashed: vec![0; requests],
            left: self.faults,
            wrong: None,
        };
        vec![world.canonical()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.steps(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        Some(self.follow(self.step(world.clone(), step)).canonical())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
