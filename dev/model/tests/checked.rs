//! The model is explored to its end, and each of its properties is seen to fail.

use std::time::{Duration, Instant};

use redcall_model::store::Fault;
use redcall_model::world::{self, Bounds, Faults};
use stateright::{Checker, HasDiscoveries, Model};

/// Two free cores need half a minute. Beyond this limit the bounds are too large or the machine is
/// slow.
const LONGEST: Duration = Duration::from_secs(110);

fn bounds(requests: u8, faults: Faults) -> Bounds {
    Bounds { workers: 2, requests, delayed: true, faults, max_crashes: 2, fault: None }
}

/// All worlds within the bounds; how many.
fn explored(bounds: Bounds) -> usize {
    let begun = Instant::now();
    let shown = format!("{bounds:?}");
    let checker = bounds.checker().threads(2).timeout(LONGEST).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let took = begun.elapsed();
    println!("{states} states up to {depth} steps deep in {took:.1?}: {shown}");
    checker.assert_properties();
    assert!(took < LONGEST, "not explored to the end");
    states
}

#[test]
fn with_crashes_a_stall_and_a_lost_reply_every_property_holds() {
    let faults = Faults { crashes: 2, stops: 1, lost: 1, ..Faults::default() };
    // Delayed requests are in the other exploration; here they would add a third more worlds.
    let states = explored(Bounds { delayed: false, ..bounds(3, faults) });
    assert!(states > 100_000, "{states}");
}

#[test]
fn with_a_retry_and_a_cancel_every_property_holds() {
    let faults = Faults { crashes: 1, stops: 1, lost: 1, fails: 1, cancels: 1, scripts: 0 };
    let states = explored(bounds(2, faults));
    assert!(states > 100_000, "{states}");
}

#[test]
fn with_scripts_that_fail_every_property_holds() {
    let faults = Faults { crashes: 1, stops: 1, lost: 1, fails: 1, cancels: 0, scripts: 2 };
    let states = explored(bounds(1, faults));
    assert!(states > 100_000, "{states}");
    let faults = Faults { stops: 1, fails: 1, lost: 1, scripts: 1, ..Faults::default() };
    let states = explored(bounds(2, faults));
    assert!(states > 10_000, "{states}");
}

/// The second safety net: a script that cannot undo its effects has stored before it removes.
#[test]
fn failing_script_that_is_not_undone_loses_nothing() {
    let faults = Faults { crashes: 1, fails: 1, cancels: 1, scripts: 1, ..Faults::default() };
    let bounds = Bounds { fault: Some(Fault::NotUndone), ..bounds(2, faults) };
    let begun = Instant::now();
    let checker = bounds.checker().threads(2).timeout(LONGEST).spawn_bfs().join();
    println!("{} states in {:.1?}", checker.unique_state_count(), begun.elapsed());
    let lost = checker.discovery(world::NOTHING_LOST).map(|path| path.into_actions());
    assert_eq!(lost, None);
    assert!(begun.elapsed() < LONGEST, "not explored to the end");
}

/// With `fault` some world breaks `property`: the counterexample.
fn broken(fault: Fault, property: &'static str) {
    let scripts = matches!(fault, Fault::NotUndone | Fault::RemovedFirst).into();
    let faults = Faults { crashes: 2, stops: 1, lost: 1, fails: 1, cancels: 1, scripts };
    let bounds = Bounds { fault: Some(fault), ..bounds(2, faults) };
    let found = HasDiscoveries::AllOf([property].into());
    let checker = bounds.checker().threads(2).timeout(LONGEST).finish_when(found);
    let checker = checker.spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{fault:?}: {property}: no counterexample"));
    println!("{fault:?}: {property}: {:?}", path.into_actions());
}

#[test]
fn missing_fence_settles_lost_leases() {
    broken(Fault::NoFence, world::FENCED);
}

#[test]
fn without_the_fence_a_request_is_settled_twice() {
    broken(Fault::NoFence, world::SETTLED_ONCE);
}

#[test]
fn take_over_that_drops_leases_loses_requests() {
    broken(Fault::TakeOverDrops, world::NOTHING_LOST);
}

#[test]
fn a_retry_that_is_not_scheduled_is_lost() {
    broken(Fault::RetryNotScheduled, world::NOTHING_LOST);
}

#[test]
fn ignored_tombstones_start_cancelled_requests() {
    broken(Fault::TombstonesIgnored, world::CANCELLED_STAYS);
}

#[test]
fn uncounted_crashes_restart_poison_requests() {
    broken(Fault::CrashNotCounted, world::POISON_STOPS);
}

#[test]
fn forgotten_poll_gets_another_reply() {
    broken(Fault::PollForgotten, world::SAYS_THE_SAME);
}

#[test]
fn renumbered_poll_gets_another_reply() {
    broken(Fault::OtherNumber, world::SAYS_THE_SAME);
}

#[test]
fn inbox_without_take_over_never_ends() {
    broken(Fault::InboxNotReleased, world::EVERYTHING_ENDS);
}

#[test]
fn an_inbox_that_is_not_read_never_ends() {
    broken(Fault::InboxIgnored, world::EVERYTHING_ENDS);
}

#[test]
fn a_schedule_that_is_not_promoted_never_ends() {
    broken(Fault::NothingPromoted, world::EVERYTHING_ENDS);
}

#[test]
fn lost_reply_without_resynchronisation_never_ends() {
    broken(Fault::NotReadBack, world::EVERYTHING_ENDS);
}

#[test]
fn failing_script_that_removes_before_it_stores_loses_a_request() {
    broken(Fault::RemovedFirst, world::NOTHING_LOST);
}

#[test]
fn failing_script_that_is_not_undone_settles_twice() {
    broken(Fault::NotUndone, world::SETTLED_ONCE);
}
