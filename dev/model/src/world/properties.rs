//! The invariants.

use stateright::Property;

use super::state::{Bounds, Faults, World, Wrong};

/// A called request that has not ended is in some place.
pub const NOTHING_LOST: &str = "no request is lost";
/// One that has not ended is in exactly one place, one that has ended in none.
pub const ONE_PLACE: &str = "a request is in one place";
/// A request gets one final frame at most, and one dead letter.
pub const SETTLED_ONCE: &str = "a request is settled at most once";
/// Only the worker that has leased a request settles it.
pub const FENCED: &str = "no worker settles after its lease is lost";
/// A request that was cancelled before it was leased is not started.
pub const CANCELLED_STAYS: &str = "a request cancelled before its start does not start";
/// A request that has crashed too many workers is not started again.
pub const POISON_STOPS: &str = "a request that kills its workers stops";
/// A poll whose reply was lost gets the same reply when it is sent again.
pub const SAME_REPLY: &str = "a poll that is sent again gets the same reply";
/// A request whose pop was served after its worker's registration had ended is not started.
pub const LATE_STAYS: &str = "no request starts from a pop after the take-over";
/// An open request makes progress without new calls, faults, or the end of a stall.
pub const EVERYTHING_ENDS: &str = "everything ends";

pub(super) fn all() -> Vec<Property<Bounds>> {
    vec![
        Property::always(NOTHING_LOST, |_, world: &World| {
            (0..world.called).all(|id| world.ends(id) > 0 || world.store.places(id) > 0)
        }),
        Property::always(ONE_PLACE, |_, world: &World| {
            (0..world.called).all(|id| world.store.places(id) == usize::from(world.ends(id) == 0))
        }),
        Property::always(SETTLED_ONCE, |_, world: &World| {
            let letters = |id| world.store.dead.iter().filter(|letter| letter.id == id).count();
            (0..world.called).all(|id| world.ends(id) <= 1 && letters(id) <= 1)
        }),
        Property::always(FENCED, |_, world: &World| {
            world.wrong != Some(Wrong::SettledWithoutLease)
        }),
        Property::always(CANCELLED_STAYS, |_, world: &World| {
            world.wrong != Some(Wrong::StartedAfterCancel)
        }),
        Property::always(POISON_STOPS, |_, world: &World| {
            world.wrong != Some(Wrong::StartedTooOften)
        }),
        Property::always(SAME_REPLY, |_, world: &World| world.wrong != Some(Wrong::OtherReply)),
        Property::always(LATE_STAYS, |_, world: &World| world.wrong != Some(Wrong::StartedLate)),
        Property::always(EVERYTHING_ENDS, |bounds: &Bounds, world: &World| {
            let calls = world.called < bounds.requests;
            calls || !world.is_open() || world.wrong.is_some() || bounds.goes_on(world)
        }),
        // So that a model in which nothing happens proves nothing.
        Property::sometimes(
            "all requests end, after all that may go wrong",
            |bounds: &Bounds, world: &World| {
                world.called == bounds.requests
                    && !world.is_open()
                    && world.left == Faults::default()
            },
        ),
    ]
}
