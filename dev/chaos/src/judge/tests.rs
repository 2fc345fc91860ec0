//! The findings of made-up histories.

use tempfile::TempDir;

use super::*;
use crate::history::{Affected, CallResult, Kind, Log, RunEvent};

const LEASE: Duration = Duration::from_secs(1);

/// Writes a history down and has it judged. Times in ms.
struct Made {
    folder: TempDir,
    files: Files,
}

impl Made {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folder(folder.path());
        Self { folder, files }
    }

    fn log_result(&self, at: u64, job: &str, op: u64, result: CallResult) -> &Self {
        let line = CallLine { at: at * 1000, job: job.to_owned(), op, what: result };
        Log::open(&self.files.calls).unwrap().write(&line);
        self
    }

    /// A call that begins at `at` and has 10 s.
    fn call(&self, at: u64, job: &str, op: u64, kind: Kind) -> &Self {
        self.log_result(at, job, op, CallResult::Begins { kind, timeout_ms: 10_000 })
    }

    /// The events of process `pid` in its run `<pid>-1`.
    fn run(&self, at: u64, job: &str, pid: u32, events: &[RunEvent]) -> &Self {
        for event in events {
            let (job, run) = (job.to_owned(), format!("{pid}-1"));
            let done = EffectLine { at: at * 1000, job, run, pid, attempt: 1, event: *event };
            Log::open(&self.files.effects).unwrap().write(&done);
        }
        self
    }

    fn strike(&self, at: u64, blow: AttackEvent) -> &Self {
        Log::open(&self.files.blows).unwrap().write(&AttackLine { at: at * 1000, what: blow });
        self
    }

    /// The process `pid` is killed while it runs `job`.
    fn kill(&self, at: u64, job: &str, pid: u32) -> &Self {
        let (job, run) = (job.to_owned(), format!("{pid}-1"));
        let (step, place) = (Step::In, Place::Leased);
        self.strike(at, AttackEvent::Kill { pid, job, run, step, place })
    }

    fn judge(&self) -> Judgement {
        assert!(self.folder.path().exists());
        let mut judge = Judge::new(&self.files, LEASE);
        judge.read().unwrap();
        judge.judge()
    }
}

fn answered(by: u32) -> CallResult {
    CallResult::Answered { run: format!("{by}-1") }
}

const WHOLE: [RunEvent; 3] = [RunEvent::Started, RunEvent::Effect, RunEvent::Settled];

#[test]
fn faultless_history_is_counted_without_findings() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Waited).run(1, "a", 7, &WHOLE).log_result(5, "a", 1, answered(7));
    made.call(6, "b", 2, Kind::Forgotten)
        .log_result(8, "b", 2, CallResult::Queued)
        .run(9, "b", 7, &WHOLE);
    made.call(6, "c", 3, Kind::Waited).log_result(
        9,
        "c",
        3,
        CallResult::Refused { code: "x".into() },
    );
    // Not deleted yet at the late check.
    made.log_result(9000, "a", 1, CallResult::FoundLater { run: "7-1".into() });
    let judged = made.judge();
    assert!(judged.found.is_nothing(), "{:?}", judged.examples);
    let calls = judged.calls;
    assert_eq!((calls.made, calls.queued, calls.answered, calls.refused), (3, 1, 1, 1));
    assert_eq!(calls.latest_after_its_time_ms, 0);
    assert_eq!(judged.run_twice, 0);
}

#[test]
fn queued_job_without_effect_is_lost() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Forgotten).log_result(1, "a", 1, CallResult::Queued);
    // It was begun, and that was all.
    made.run(2, "a", 7, &[RunEvent::Started]);
    let mut judge = Judge::new(&made.files, LEASE);
    judge.read().unwrap();
    assert_eq!(judge.open(), 1);
    assert_eq!(judge.judge().found.lost, 1);
    // No caller received a confirmation that this one is queued.
    made.call(0, "b", 2, Kind::Waited).log_result(1, "b", 2, CallResult::Unknown);
    assert_eq!(made.judge().found.lost, 1);
    made.run(3, "a", 7, &[RunEvent::Effect]);
    assert_eq!(made.judge().found.lost, 0);
}

#[test]
fn an_answer_that_is_not_there_is_lost_unless_it_was_had_before() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Scheduled)
        .log_result(1, "a", 1, CallResult::Queued)
        .run(2, "a", 7, &WHOLE);
    made.call(3, "a", 2, Kind::Scheduled).log_result(4, "a", 2, CallResult::Missing);
    assert_eq!(made.judge().found.lost, 1);
    made.call(5, "a", 3, Kind::Scheduled).log_result(6, "a", 3, answered(7));
    assert_eq!(made.judge().found.lost, 0);
}

#[test]
fn two_accepted_runs_are_settled_twice() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Forgotten).log_result(1, "a", 1, CallResult::Queued);
    made.run(2, "a", 7, &WHOLE).strike(2, stop(7, "a"));
    let refused = [RunEvent::Started, RunEvent::Effect, RunEvent::Refused];
    made.run(3, "a", 8, &refused);
    let judged = made.judge();
    assert_eq!((judged.found.settled_twice, judged.run_twice), (0, 1));
    made.run(4, "a", 8, &[RunEvent::Settled]);
    let judged = made.judge();
    assert_eq!(judged.found.settled_twice, 1);
    assert_eq!(judged.examples, ["a: ended by 7-1 and 8-1"]);
}

#[test]
fn another_answer_at_the_key_than_was_taken_is_settled_twice() {
    let made = Made::new();
    let unsettled = [RunEvent::Started, RunEvent::Effect];
    made.call(0, "a", 1, Kind::Waited).run(1, "a", 7, &unsettled).log_result(
        5,
        "a",
        1,
        answered(7),
    );
    let found = |run: &str| CallResult::FoundLater { run: run.to_owned() };
    made.log_result(9000, "a", 1, found("7-1"));
    assert_eq!(made.judge().found.settled_twice, 0);
    made.log_result(9000, "a", 1, found("8-1"));
    assert_eq!(made.judge().found.settled_twice, 1);
    // The same answer twice at one key is one too many as well.
    let made = Made::new();
    made.call(0, "a", 1, Kind::Waited).run(1, "a", 7, &unsettled).log_result(
        5,
        "a",
        1,
        answered(7),
    );
    made.log_result(9000, "a", 1, found("7-1")).log_result(9000, "a", 1, found("7-1"));
    assert_eq!(made.judge().found.settled_twice, 1);
}

#[test]
fn late_or_missing_result_is_hung() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Waited).log_result(11_000, "a", 1, CallResult::TimedOut);
    let judged = made.judge();
    assert_eq!((judged.found.hung, judged.calls.latest_after_its_time_ms), (0, 1000));
    made.call(0, "b", 2, Kind::Waited).log_result(11_001, "b", 2, CallResult::TimedOut);
    made.call(0, "c", 3, Kind::Waited);
    let judged = made.judge();
    assert_eq!(judged.found.hung, 2, "{:?}", judged.examples);
}

#[test]
fn frames_come_in_order_within_an_attempt() {
    let made = Made::new();
    let received = |attempt, percent| CallResult::Received { attempt, percent };
    made.call(0, "a", 1, Kind::Streamed).run(1, "a", 7, &WHOLE);
    made.log_result(2, "a", 1, received(1, 20)).log_result(3, "a", 1, received(1, 40)).log_result(
        4,
        "a",
        1,
        received(2, 20),
    );
    made.log_result(5, "a", 1, answered(7));
    assert_eq!(made.judge().found.out_of_order, 0);
    made.log_result(4, "a", 1, received(2, 10));
    assert_eq!(made.judge().found.out_of_order, 1);
}

#[test]
fn expired_request_of_an_answered_call_settles_nothing() {
    let made = Made::new();
    let expired = || CallResult::Failed { code: "deadline_exceeded".to_owned() };
    made.call(0, "a", 1, Kind::Idempotent).log_result(1, "a", 1, expired());
    made.call(0, "a", 2, Kind::Idempotent).run(2, "a", 7, &WHOLE);
    // A run that was accepted for the expired request.
    assert_eq!(made.judge().found.settled_twice, 1);
    made.log_result(3, "a", 2, answered(7));
    assert_eq!(made.judge().found.settled_twice, 0);
}

#[test]
fn result_without_cause_is_unexplained() {
    let made = Made::new();
    let failed = |code: &str| CallResult::Failed { code: code.to_owned() };
    made.call(0, "a", 1, Kind::Waited).log_result(5, "a", 1, failed("deadline_exceeded"));
    assert_eq!(made.judge().found.unexplained, 0);
    made.call(0, "b", 2, Kind::Waited).log_result(5, "b", 2, failed("internal"));
    assert_eq!(made.judge().found.unexplained, 1);
    // An answer out of nowhere.
    made.call(0, "c", 3, Kind::Waited).log_result(5, "c", 3, answered(7));
    assert_eq!(made.judge().found.unexplained, 2);
    // A refused request that runs.
    let refused = CallResult::Refused { code: "unavailable".to_owned() };
    made.call(0, "d", 4, Kind::Forgotten).log_result(5, "d", 4, refused).run(6, "d", 7, &WHOLE);
    assert_eq!(made.judge().found.unexplained, 3);
    // A repeated run without a fault of its worker.
    made.call(0, "e", 5, Kind::Waited).run(1, "e", 7, &WHOLE).log_result(3, "e", 5, answered(7));
    made.run(2, "e", 8, &[RunEvent::Started]);
    let judged = made.judge();
    assert_eq!(judged.found.unexplained, 4, "{:?}", judged.examples);
    made.strike(1, stop(7, "e"));
    assert_eq!(made.judge().found.unexplained, 3);
}

#[test]
fn a_killed_workers_job_is_started_again_within_two_leases() {
    let recovered = |after: u64| {
        let made = Made::new();
        made.call(0, "a", 1, Kind::Waited).run(1, "a", 7, &[RunEvent::Started]).kill(10, "a", 7);
        made.run(10 + after, "a", 8, &WHOLE).log_result(9000, "a", 1, answered(8));
        let judged = made.judge();
        let recovery = judged.recovery;
        assert_eq!((recovery.kills_alone, recovery.kills_amid_other_trouble), (1, 0));
        assert_eq!(recovery.slowest_ms, after);
        judged.found.recovered_late
    };
    assert_eq!(recovered(2000), 0);
    assert_eq!(recovered(2001), 1);
}

#[test]
fn other_faults_extend_recovery_until_two_leases_after_their_end() {
    let recovered = |after: u64, trouble: &[(u64, AttackEvent)]| {
        let made = Made::new();
        made.call(0, "a", 1, Kind::Waited).run(1, "a", 7, &[RunEvent::Started]);
        made.kill(5000, "a", 7).run(5000 + after, "a", 8, &WHOLE);
        for (at, blow) in trouble {
            made.strike(*at, blow.clone());
        }
        made.log_result(9900, "a", 1, answered(8));
        let judged = made.judge();
        (judged.found.recovered_late, judged.recovery.kills_alone)
    };
    // Redis is back, with all clients, a second later at the latest.
    let restart = [(6000, AttackEvent::RedisGone), (6500, AttackEvent::RedisBack)];
    assert_eq!(recovered(4500, &restart), (0, 0));
    assert_eq!(recovered(4501, &restart), (1, 0));
    // The worker that could have taken over was stopped.
    let stopped = [(5500, stop(8, "b")), (7000, AttackEvent::Continue { pid: 8 })];
    assert_eq!(recovered(4000, &stopped), (0, 0));
    assert_eq!(recovered(4001, &stopped), (1, 0));
    // A fault that ended long before does not excuse.
    let before = [(1000, AttackEvent::RedisGone), (1500, AttackEvent::RedisBack)];
    assert_eq!(recovered(2001, &before), (1, 1));
}

/// Spells in which all workers may lose their leases, from 1 s until 3 s.
fn leases_lost() -> [[(u64, AttackEvent); 2]; 3] {
    let right = AttackEvent::RightTaken { right: "-hset".to_owned() };
    [
        [(1000, AttackEvent::DiskFull), (3000, AttackEvent::DiskFree)],
        [(1000, right), (3000, AttackEvent::RightGiven)],
        [(1000, AttackEvent::ClockStepped { ms: 5000 }), (3000, AttackEvent::ClockBack)],
    ]
}

#[test]
fn rerun_after_lost_right_full_disk_or_clock_step_is_explained() {
    for spell in leases_lost() {
        let found = |first: u64, second: u64| {
            let made = Made::new();
            made.call(0, "a", 1, Kind::Waited).run(first, "a", 7, &WHOLE);
            made.run(second, "a", 8, &[RunEvent::Started]).log_result(9900, "a", 1, answered(7));
            for (at, blow) in &spell {
                made.strike(*at, blow.clone());
            }
            let judged = made.judge();
            assert_eq!(judged.struck.len(), 1, "{spell:?}");
            judged.found.unexplained
        };
        assert_eq!(found(500, 2000), 0, "{spell:?}");
        // A second to be back, and two leases.
        assert_eq!(found(6000, 6100), 0, "{spell:?}");
        assert_eq!(found(6001, 6100), 1, "{spell:?}");
        assert_eq!(found(100, 999), 1, "{spell:?}");
    }
}

#[test]
fn take_over_amid_other_faults_has_more_time() {
    for spell in leases_lost() {
        let late = |after: u64| {
            let made = Made::new();
            made.call(0, "a", 1, Kind::Waited).run(1, "a", 7, &[RunEvent::Started]);
            made.kill(2000, "a", 7).run(2000 + after, "a", 8, &WHOLE);
            for (at, blow) in &spell {
                made.strike(*at, blow.clone());
            }
            made.log_result(9900, "a", 1, answered(8)).judge().found.recovered_late
        };
        assert_eq!((late(4000), late(4001)), (0, 1), "{spell:?}");
    }
}

#[test]
fn unread_or_full_log_excuses_nothing() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Waited).run(1100, "a", 7, &WHOLE);
    made.run(1200, "a", 8, &[RunEvent::Started]).log_result(9900, "a", 1, answered(7));
    made.strike(0, AttackEvent::FullLog { pid: 7 });
    made.strike(1000, AttackEvent::LogsUnread).strike(3000, AttackEvent::LogsRead);
    let judged = made.judge();
    assert_eq!(judged.found.unexplained, 1, "{:?}", judged.examples);
    let names: Vec<&str> = judged.struck.into_keys().collect();
    assert_eq!(names, ["spells_of_unread_logs", "workers_with_a_full_log"]);
}

#[test]
fn hits_are_counted_by_the_place_of_the_request() {
    let made = Made::new();
    let (whose, what) = (Affected::Workers, ReplyFault::Lost);
    let kill = |place| {
        let (job, run) = ("a".to_owned(), "7-1".to_owned());
        AttackEvent::Kill { pid: 7, job, run, step: Step::Young, place }
    };
    let places = [Place::Young, Place::Young, Place::Batch, Place::Leased, Place::Elsewhere];
    for place in places {
        made.strike(1, kill(place));
    }
    made.strike(2, AttackEvent::Cut { whose, young: 3 });
    made.strike(3, AttackEvent::Cut { whose, young: 0 });
    made.strike(4, AttackEvent::SpellOver { what, of_lanes: 5 });
    let struck = made.judge().struck;
    let expected = [
        ("cuts", 2),
        ("hits_of_batches_in_lanes", 1),
        ("hits_of_leased_requests", 1),
        ("hits_of_young_requests", 2),
        ("kills_in_blocked_handler", 5),
        ("lost_replies_to_lanes", 5),
        ("young_requests_in_cuts", 3),
    ];
    assert_eq!(struck, expected.into());
}

#[test]
fn held_job_of_killed_worker_without_rerun_is_found() {
    let made = Made::new();
    made.call(0, "a", 1, Kind::Forgotten).log_result(1, "a", 1, CallResult::Queued);
    // Its effect came, its settlement cannot have.
    made.run(2, "a", 7, &[RunEvent::Started, RunEvent::Effect]).kill(5, "a", 7);
    let judged = made.judge();
    assert_eq!((judged.found.lost, judged.found.recovered_late), (0, 1), "{:?}", judged.examples);
}

fn stop(pid: u32, job: &str) -> AttackEvent {
    let (job, run) = (job.to_owned(), format!("{pid}-1"));
    AttackEvent::Stop { pid, job, run, step: Step::After, place: Place::Leased }
}
