//! The state after a script failed at any of its commands. Redis undoes nothing of it.
//!
//! Each case runs one script on a filled queue: once as it should be, to learn which keys and
//! commands it uses; then once for each of those keys with a value of a wrong type there, and once
//! for each of those commands without the right to it. The fault is taken away, the call is made
//! again if it failed, and healthy workers run all that is there. Each accepted request must have
//! ended exactly once.

mod calls;
mod fill;
mod heal;
mod places;
mod watch;
mod world;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use redcall_store::rights::Role;

use calls::{Case, cases};
use world::World;

/// The fault while the script runs.
#[derive(Debug, Clone)]
enum Fault {
    /// This key has a value of another type.
    WrongType(String),
    /// The user may not run this command.
    Without(String),
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType(key) => write!(f, "wrong type at {key}"),
            Self::Without(command) => write!(f, "without {command}"),
        }
    }
}

/// Runs `case` with each fault; the faults with which it broke a promise, and how many there are.
async fn run(world: &mut World, case: &Case) -> (Vec<String>, usize) {
    let before = world.reset(case.state).await;
    let watch = world.watch().await;
    let good = (case.call)(world, &world.caller, false).await;
    let seen = watch.end(&mut world.conn, case.script).await;
    assert!(good.is_ok(), "{}: {good:?}", case.name);
    assert!(seen.scripts.contains(&case.script), "{} runs {:?}", case.name, seen.scripts);
    let mut problems = before.wrong_now(&world.places().await, case, &good);
    world.heal().await;
    problems.extend(before.wrong_at_the_end(&world.places().await, case, &world.runs));
    assert_eq!(problems, [""; 0], "{}: without any fault", case.name);

    let keys = seen.keys.into_iter().map(Fault::WrongType);
    let (mut red, mut count) = (Vec::new(), 0);
    for fault in keys.chain(seen.commands.into_iter().map(Fault::Without)) {
        let problems = run_with(world, case, &fault).await;
        if !problems.is_empty() {
            let why = problems[..problems.len().min(6)].join("\n    ");
            red.push(format!("{}: {fault}\n    {why}", case.name));
        }
        count += 1;
    }
    (red, count)
}

async fn run_with(world: &mut World, case: &Case, fault: &Fault) -> Vec<String> {
    let before = world.reset(case.state).await;
    world.break_it(fault).await;
    let result = (case.call)(world, &world.caller, false).await;
    world.make_whole(fault).await;
    let mut problems = before.wrong_now(&world.places().await, case, &result);
    if result.is_err() || case.is_repeated {
        let again = (case.call)(world, &world.healthy, true).await;
        if let Err(error) = again {
            problems.push(format!("the same call fails without the fault: {error}"));
        }
    }
    if let Err(error) = &result {
        problems.iter_mut().for_each(|problem| problem.push_str(&format!(" ({error:?})")));
    }
    world.heal().await;
    problems.extend(before.wrong_at_the_end(&world.places().await, case, &world.runs));
    problems
}

/// Runs the cases of these scripts; none of them may break a promise.
async fn judge(scripts: &[&str]) {
    let mut world = World::new().await;
    let (mut red, mut count) = (Vec::new(), 0);
    for case in cases().filter(|case| scripts.contains(&case.script)) {
        let (red_now, all) = run(&mut world, case).await;
        red.extend(red_now);
        count += all;
    }
    println!("{count} cases, {} red", red.len());
    assert!(red.is_empty(), "red:\n{}", red.join("\n"));
}

/// Runs each script as a user with only the documented rights of its callers.
#[tokio::test]
async fn documented_rights_suffice_for_each_script() {
    let mut world = World::new().await;
    let mut refused = Vec::new();
    for case in cases() {
        for role in [Role::Worker, Role::Client, Role::Admin] {
            if !role.calls(case.script) {
                continue;
            }
            world.reset(case.state).await;
            world.allow_only(role).await;
            let result = (case.call)(&world, &world.caller, false).await;
            let log = world.refusals().await;
            if result.is_err() || !log.is_empty() {
                refused.push(format!("{} as {role:?}: {result:?}, {log:?}", case.name));
            }
        }
    }
    assert_eq!(refused, [""; 0]);
}

/// Runs each script after Redis has forgotten all of them, as it does when it is restarted.
#[tokio::test]
async fn each_script_runs_after_a_flush() {
    let mut world = World::new().await;
    for case in cases() {
        world.reset(case.state).await;
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut world.conn).await.unwrap();
        let result = (case.call)(&world, &world.caller, false).await;
        assert!(result.is_ok(), "{}: {result:?}", case.name);
    }
}

#[test]
fn each_script_has_a_case() {
    let have: BTreeSet<&str> = cases().map(|case| case.script).collect();
    let all: BTreeSet<&str> = redcall_store::scripts().map(|of| of.name).collect();
    assert_eq!(have, all, "a case for each script");
    let known: Vec<&&str> = GROUPED.iter().filter(|script| !all.contains(**script)).collect();
    assert!(known.is_empty(), "{known:?} are not scripts");
    let named: BTreeSet<&str> = cases().map(|case| case.name).collect();
    assert_eq!(named.len(), cases().count(), "names of cases are unique");
}

/// Divides the scripts among tests that run at the same time; the first one gets the rest.
macro_rules! failures {
    (rest $last:ident; $($name:ident: $($script:literal),+;)+) => {
        $(#[tokio::test]
        async fn $name() {
            judge(&[$($script),+]).await;
        })+

        const GROUPED: &[&str] = &[$($($script),+),+];

        #[tokio::test]
        async fn $last() {
            let all = redcall_store::scripts().map(|of| of.name);
            let rest: BTreeSet<&str> = all.filter(|script| !GROUPED.contains(script)).collect();
            judge(&rest.into_iter().collect::<Vec<_>>()).await;
        }
    };
}

failures! {
    rest failing_stream_loses_no_request;
    failing_poll_loses_no_request: "poll";
    failing_poll_fast_loses_no_request: "poll_fast";
    failing_lane_loses_no_request: "lane_settle", "lane_poll", "adopt";
    failing_enqueue_loses_no_request: "enqueue", "enqueue_ext", "tick", "revive", "claim";
    failing_release_loses_no_request: "release", "promote", "heartbeat", "pause", "probe",
        "rights", "rotation", "times", "tally", "note";
    failing_cancel_loses_no_request: "cancel", "settle", "expire";
}
