//! The output of `--help`, as golden files: users and documents rely on it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::path::Path;

use crate::support::Ran;

/// Set to rewrite the golden files.
const UPDATE: &str = "REDCALL_UPDATE_GOLDEN";

/// Compares the output of a program with `tests/golden/<file>.txt`.
async fn golden(program: &str, args: &[&str], file: &str) {
    let ran = Ran::new(program, args, &[].into()).await;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(file).with_extension("txt");
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        std::fs::write(&path, &ran.stdout).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if ran.stdout == expected {
        return;
    }
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), ran.stdout.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}\n"));
    let added = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}\n"));
    let changes: String = gone.chain(added).collect();
    panic!(
        "`{program} {}` prints something else than {}:\n{changes}\
         If that is meant, rewrite it and commit it:\n\
         {UPDATE}=1 cargo test -p redcall-tests --test suite help::",
        args.join(" "),
        path.display()
    );
}

#[tokio::test]
async fn the_help_of_redcall_is_as_recorded() {
    golden("redcall", &["--help"], "redcall").await;
}

#[tokio::test]
async fn the_help_of_redcall_service_is_as_recorded() {
    golden("redcall", &["service", "--help"], "redcall-service").await;
}

#[tokio::test]
async fn the_help_of_redcall_bench_is_as_recorded() {
    golden("redcall", &["bench", "--help"], "redcall-bench").await;
    golden("redcall", &["bench", "call", "--help"], "redcall-bench-call").await;
    golden("redcall", &["bench", "enqueue", "--help"], "redcall-bench-enqueue").await;
    golden("redcall", &["bench", "drain", "--help"], "redcall-bench-drain").await;
}

#[tokio::test]
async fn the_help_of_redcall_worker_check_is_as_recorded() {
    golden("redcall-worker", &["check", "--help"], "redcall-worker-check").await;
}

#[tokio::test]
async fn the_help_of_redcall_call_is_as_recorded() {
    golden("redcall", &["call", "--help"], "redcall-call").await;
}

#[tokio::test]
async fn the_help_of_redcall_settle_is_as_recorded() {
    golden("redcall", &["settle", "--help"], "redcall-settle").await;
}

#[tokio::test]
async fn the_help_of_redcall_follow_is_as_recorded() {
    golden("redcall", &["follow", "--help"], "redcall-follow").await;
}

#[tokio::test]
async fn the_help_of_redcall_chaos_is_as_recorded() {
    golden("redcall", &["chaos", "--help"], "redcall-chaos").await;
}

#[tokio::test]
async fn the_help_of_redcall_console_is_as_recorded() {
    golden("redcall", &["console", "--help"], "redcall-console").await;
}

#[tokio::test]
async fn the_help_of_redcall_dead_is_as_recorded() {
    golden("redcall", &["dead", "--help"], "redcall-dead").await;
    golden("redcall", &["dead", "list", "--help"], "redcall-dead-list").await;
    golden("redcall", &["dead", "retry", "--help"], "redcall-dead-retry").await;
}

#[tokio::test]
async fn the_help_of_redcall_doctor_is_as_recorded() {
    golden("redcall", &["doctor", "--help"], "redcall-doctor").await;
}

#[tokio::test]
async fn the_help_of_redcall_events_is_as_recorded() {
    golden("redcall", &["events", "--help"], "redcall-events").await;
    golden("redcall", &["events", "tail", "--help"], "redcall-events-tail").await;
    golden("redcall", &["events", "publish", "--help"], "redcall-events-publish").await;
}

#[tokio::test]
async fn the_help_of_redcall_status_and_monitor_is_as_recorded() {
    golden("redcall", &["status", "--help"], "redcall-status").await;
    golden("redcall", &["monitor", "--help"], "redcall-monitor").await;
}

#[tokio::test]
async fn the_help_of_other_verbs_is_as_recorded() {
    for verb in ["cancel", "pause", "queues", "resume", "workers"] {
        golden("redcall", &[verb, "--help"], &format!("redcall-{verb}")).await;
    }
    for verb in ["purge", "show"] {
        golden("redcall", &["dead", verb, "--help"], &format!("redcall-dead-{verb}")).await;
    }
}

#[tokio::test]
async fn the_help_of_redcall_worker_is_as_recorded() {
    golden("redcall-worker", &["--help"], "redcall-worker").await;
    for verb in ["check", "status", "stop"] {
        golden("redcall-worker", &[verb, "--help"], &format!("redcall-worker-{verb}")).await;
    }
}

#[tokio::test]
async fn verb_offers_only_flags_that_mean_something_to_it() {
    for verb in ["status", "stop"] {
        let help = Ran::new("redcall-worker", &[verb, "--help"], &[].into()).await.stdout;
        assert!(help.contains("--pid-file"), "{help}");
        for flag in ["--settings", "--queues", "--concurrency", "--name", "--log-file"] {
            assert!(!help.contains(flag), "{verb} offers {flag}: {help}");
            let ran = Ran::new("redcall-worker", &[verb, flag, "1"], &[].into()).await;
            assert_eq!(ran.code, 2, "{verb} takes {flag}: {ran:?}");
            let ran = Ran::new("redcall-worker", &[flag, "1", verb], &[].into()).await;
            assert_eq!(ran.code, 2, "{flag} is taken before {verb}: {ran:?}");
            ran.says(flag);
        }
        let file = ["--pid-file", "/nonexistent/pid"];
        let before = Ran::new("redcall-worker", &[&file[..], &[verb]].concat(), &[].into()).await;
        let behind = Ran::new("redcall-worker", &[&[verb], &file[..]].concat(), &[].into()).await;
        assert_eq!((before.code, &before.stdout), (3, &behind.stdout), "{before:?}");
    }
    let help = Ran::new("redcall", &["call", "--help"], &[].into()).await.stdout;
    let (own, global) = help.split_once("Global options:").unwrap();
    for flag in ["--settings", "--redis", "--json"] {
        assert!(global.contains(flag) && !own.contains(flag), "{help}");
    }
    assert!(own.contains("--wait") && !global.contains("--wait"), "{help}");
}
