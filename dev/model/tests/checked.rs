//! The model is explored to its end, and each of its properties is seen to fail.

use std::time::{Duration, Instant};

use redcall_model::store::Fault;
use redcall_model::world::{self, Bounds, Faults};
use stateright::{Checker, HasDiscoveries, Model};

/// Two free cores need half a minute. Beyond this limit the bounds are too large or the machine is
/// slow.
const LONGEST: Duration = Duration::from_secs(110);

fn bounds(requests: u8, faults: Faults) -> Bounds {
    let (workers, lanes) = (2, false);
    Bounds { workers, requests, lanes, delayed: true, faults, max_crashes: 2, fault: None }
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
    loses_nothing(Fault::NotUndone, bounds(2, faults));
}

/// With `fault` no request is lost.
fn loses_nothing(fault: Fault, bounds: Bounds) {
    let bounds = Bounds { fault: Some(fault), ..bounds };
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
    breaks(fault, property, bounds(2, faults));
}

fn breaks(fault: Fault, property: &'static str, bounds: Bounds) {
    let bounds = Bounds { fault: Some(fault), ..bounds };
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
    broken(Fault::PollForgotten, world::SAME_REPLY);
}

#[test]
fn renumbered_poll_gets_another_reply() {
    broken(Fault::OtherNumber, world::SAME_REPLY);
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

/// Workers with lanes.
fn with_lanes(requests: u8, faults: Faults) -> Bounds {
    Bounds { lanes: true, delayed: false, ..bounds(requests, faults) }
}

#[test]
fn lanes_with_a_crash_a_stall_and_a_lost_connection_every_property_holds() {
    let faults = Faults { crashes: 1, stops: 1, lost: 1, ..Faults::default() };
    let states = explored(with_lanes(2, faults));
    assert!(states > 100_000, "{states}");
}

#[test]
fn lanes_with_a_retry_and_a_cancel_every_property_holds() {
    let faults = Faults { stops: 1, lost: 1, fails: 1, cancels: 1, ..Faults::default() };
    let states = explored(with_lanes(2, faults));
    assert!(states > 10_000, "{states}");
    let faults = Faults { crashes: 1, stops: 1, cancels: 1, ..Faults::default() };
    let states = explored(with_lanes(2, faults));
    assert!(states > 10_000, "{states}");
}

#[test]
fn lanes_with_scripts_that_fail_every_property_holds() {
    let faults = Faults { stops: 1, lost: 1, scripts: 2, ..Faults::default() };
    let states = explored(with_lanes(2, faults));
    assert!(states > 10_000, "{states}");
    let faults = Faults { crashes: 1, stops: 1, scripts: 1, ..Faults::default() };
    let states = explored(with_lanes(2, faults));
    assert!(states > 10_000, "{states}");
}

#[test]
fn failing_script_of_a_lane_that_is_not_undone_loses_nothing() {
    let faults = Faults { crashes: 1, lost: 1, scripts: 1, ..Faults::default() };
    loses_nothing(Fault::NotUndone, with_lanes(2, faults));
}

/// With `fault` some world with lanes breaks `property`: the counterexample.
fn broken_lane(fault: Fault, property: &'static str) {
    let scripts = matches!(fault, Fault::NotUndone | Fault::RemovedFirst).into();
    let faults = Faults { crashes: 2, stops: 1, lost: 1, fails: 1, cancels: 1, scripts };
    breaks(fault, property, with_lanes(2, faults));
}

#[test]
fn lane_inbox_refilled_before_its_settlement_loses_requests() {
    broken_lane(Fault::RefilledFirst, world::NOTHING_LOST);
}

#[test]
fn lane_without_its_registration_starts_late_requests() {
    broken_lane(Fault::LateStarted, world::LATE_STAYS);
}

#[test]
fn reply_to_a_settlement_that_is_read_as_that_to_a_take_never_ends() {
    broken_lane(Fault::ReplyMistaken, world::EVERYTHING_ENDS);
}

#[test]
fn adoption_that_drops_unsettled_requests_loses_them() {
    broken_lane(Fault::AdoptDrops, world::NOTHING_LOST);
}

#[test]
fn lane_without_its_gate_starts_cancelled_requests() {
    broken_lane(Fault::GateIgnored, world::CANCELLED_STAYS);
}

#[test]
fn late_pop_of_an_unregistered_worker_that_is_not_found_never_ends() {
    broken_lane(Fault::LateIgnored, world::EVERYTHING_ENDS);
}

#[test]
fn lane_inbox_without_take_over_never_ends() {
    broken_lane(Fault::LanesNotReleased, world::EVERYTHING_ENDS);
}

#[test]
fn lane_without_the_fence_settles_lost_requests() {
    broken_lane(Fault::NoFence, world::FENCED);
}

#[test]
fn uncounted_crashes_of_lane_inboxes_restart_poison_requests() {
    broken_lane(Fault::CrashNotCounted, world::POISON_STOPS);
}

#[test]
fn forgotten_settlement_of_a_lane_gets_another_reply() {
    broken_lane(Fault::PollForgotten, world::SAME_REPLY);
}

#[test]
fn failing_script_of_a_lane_that_removes_before_it_stores_loses_a_request() {
    broken_lane(Fault::RemovedFirst, world::NOTHING_LOST);
}
