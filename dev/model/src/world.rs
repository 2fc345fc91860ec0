//! Workers, callers and faults around one queue: every possible step, in any order.
//!
//! | file | holds |
//! |---|---|
//! | `world/worker.rs` | a worker's own state, as in `worker/src/dispatcher/` |
//! | `world/lane.rs` | its lane: one connection, two inboxes |
//! | `world/lane/worker.rs` | its writes to the lane, and its reading of the replies |
//! | `world/taken.rs` | a request in the hands of a worker |
//! | `world/take_over.rs` | the take-over of a worker's requests |
//! | `world/lane/steps.rs` | the steps of a lane, and their effects |
//! | `world/state.rs` | everything at one moment, and how much of it there is |
//! | `world/script.rs` | the scripts that may fail |
//! | `world/step.rs` | a step |
//! | `world/steps.rs` | the possible steps, and their effects |
//! | `world/failing.rs` | scripts that fail at one of their commands |
//! | `world/renumber.rs` | worlds that are equal except for numbers |
//! | `world/properties.rs` | the invariants |
//!
//! A step is atomic: a script in Redis, or a worker that handles one reply. Between any two steps a
//! worker may crash or stop, and a reply may get lost.

mod failing;
mod lane;
mod properties;
mod renumber;
mod script;
mod state;
mod step;
mod steps;
mod take_over;
mod taken;
mod worker;

use stateright::{Model, Property};

use crate::store::{Registered, Store, WorkerId};
pub use lane::{Cmd, Lane, Received, Slot, Young};
pub use properties::{
    CANCELLED_STAYS, EVERYTHING_ENDS, FENCED, LATE_STAYS, NOTHING_LOST, ONE_PLACE, POISON_STOPS,
    SAME_REPLY, SETTLED_ONCE,
};
pub use script::Script;
pub use state::{Bounds, Faults, World, Wrong};
pub use step::Step;
pub use taken::Taken;
pub use worker::{Job, Life, Pop, Send, Worker};

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
            if self.lanes {
                workers[at].lane = Lane::opened();
                store.open_lane(WorkerId::try_from(at).unwrap_or_default());
            }
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
