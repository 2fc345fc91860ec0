//! Scripts that fail at one of their commands.
//!
//! A promote, a take-over or a cancel that fails and is undone changes nothing: it is not a step.
//! Polls and pops are steps: their worker gets an error, or one outcome keeps its lease. With an
//! injected fault, each script leaves the effects of its commands so far.

use super::script::Script;
use super::state::{Bounds, World};
use super::step::Step;
use super::worker::{Life, Pop, Send};
use crate::store::{PollStep, Registered, Reply, Store, WorkerId};

impl Bounds {
    /// The ways in which a script may fail, as steps.
    pub(super) fn fails(&self, world: &World, script: Script, steps: &mut Vec<Step>) {
        if world.left.scripts > 0 {
            let count = match script {
                Script::Lane(at) => world.lane_ways(at).len(),
                _ => ways(world, script).len(),
            };
            steps.extend((0..).take(count).map(|way| Step::Fails(script, way)));
        }
    }

    /// A script fails in one of its ways.
    pub(super) fn fail(&self, world: &mut World, script: Script, way: u8) {
        if let Script::Lane(at) = script {
            let way = world.lane_ways(at).into_iter().nth(usize::from(way));
            return way.into_iter().for_each(|way| world.lane_fails(at, way));
        }
        let way = ways(world, script).into_iter().nth(usize::from(way));
        let Some((left, reply)) = way else { return };
        world.left.scripts -= 1;
        let before = std::mem::replace(&mut world.store, left);
        match (script, reply) {
            (Script::PollStep(at), Some(reply)) => {
                if let Some((poll, held)) = world.sent(at) {
                    let repeats = before.repeats(&poll);
                    self.replied(world, poll, held, reply, repeats);
                }
            }
            (Script::PollStep(at), None) => {
                world.worker(at).lose_poll(self.fault);
                world.owns_again(at);
            }
            (Script::Leases(at), _) => {
                let worker = world.worker(at);
                match worker.life {
                    Life::Dead => worker.pop = Pop::No,
                    _ => worker.lose_pop(self.fault),
                }
                world.owns_again(at);
            }
            (Script::Promote(_) | Script::TakeOver(_) | Script::Cancel(_), _) => {}
            (Script::Lane(_), _) => {}
        }
    }
}

impl World {
    /// Requests that a script has leased before it failed belong to its worker, too.
    fn owns_again(&mut self, at: WorkerId) {
        let leases = self.store.holder(at).leases.clone();
        self.worker(at).owns = leases;
    }
}

/// The ways in which a script may fail: the store that it leaves, and its reply.
fn ways(world: &World, script: Script) -> Vec<(Store, Option<Reply>)> {
    let store = &world.store;
    let left = |ways: Vec<Store>| ways.into_iter().map(|left| (left, None)).collect();
    match script {
        Script::PollStep(at) => match &world.workers[usize::from(at)].send {
            Send::Sent(poll, _) | Send::Read(poll, _) => {
                store.poll_fails(&PollStep { worker: at, ..poll.clone() })
            }
            Send::No | Send::Replied(..) => Vec::new(),
        },
        // See docs/internals/decisions/0008: the hole of a pop for a worker that is not registered.
        Script::Leases(at) if store.holder(at).registered == Registered::No => Vec::new(),
        Script::Leases(at) => store.poll_fails(&PollStep::take(at, 0)),
        Script::Lane(_) => Vec::new(),
        Script::Promote(id) => left(store.fails(|store| {
            store.make_due(id);
            store.promote();
        })),
        Script::TakeOver(at) => left(store.fails(|store| {
            store.end_lease(at);
            store.release(at, false);
        })),
        Script::Cancel(id) => left(store.fails(|store| {
            store.cancel(id);
        })),
    }
}
