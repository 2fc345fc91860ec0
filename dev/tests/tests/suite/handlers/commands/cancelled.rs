//! Cancelled commands: they receive SIGTERM, and SIGKILL after a grace.

use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_testkit::eventually;
use serde_json::Value;

use super::{Shell, are_gone};

const GRACE: Duration = Duration::from_millis(400);

/// Runs `script`, which writes `count` process ids, and cancels it then. Returns when all of it is
/// gone and its slot is free: how long that took.
async fn cancel(shell: &Shell, count: usize) -> Duration {
    let ticket = shell.client.request("script").data(&Value::Null).submit().await.unwrap();
    let pids = shell.pids(count).await;
    let since = Instant::now();
    ticket.cancel().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    are_gone(&pids).await;
    let took = since.elapsed();
    shell.goes_on().await;
    took
}

async fn with_grace(grace: Duration, script: &str) -> Shell {
    Shell::with(script, |bench| bench.settings.worker.cancel_grace = grace).await
}

/// Waits until a script has noted that it has cleaned up.
async fn has_cleaned_up(shell: &Shell) {
    eventually("the script to have cleaned up", async || {
        shell.file.dir().join("clean").exists().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_command_is_asked_to_end_and_may_clean_up() {
    // By SIGKILL: a shell's child that has not become `sleep` yet forgets a SIGTERM.
    let script =
        "trap 'kill -KILL $!; echo > clean; exit' TERM; sleep 600 & echo $$ $! > pids; wait";
    let shell = with_grace(Duration::from_secs(60), script).await;
    cancel(&shell, 2).await;
    has_cleaned_up(&shell).await;
}

#[tokio::test]
async fn command_and_children_ignoring_sigterm_are_killed() {
    let script = "trap '' TERM; sleep 600 & echo $$ $! > pids; wait";
    let shell = with_grace(GRACE, script).await;
    let took = cancel(&shell, 2).await;
    assert!(took >= GRACE, "{took:?}");
}

#[tokio::test]
async fn a_child_that_outlives_its_command_has_the_same_grace() {
    // The shell ends at once, as shells do; its child cleans up after that.
    let child = "trap 'kill -KILL $!; while kill -0 $PPID; do :; done 2> /dev/null; \
                 echo > clean; exit' TERM; sleep 600 & echo $$ $PPID > pids; wait";
    let script = format!("sh -c {} & wait", quoted(child));
    let shell = with_grace(Duration::from_secs(60), &script).await;
    cancel(&shell, 2).await;
    has_cleaned_up(&shell).await;
}

#[tokio::test]
async fn child_ignoring_sigterm_is_killed_after_the_grace() {
    let child = "trap '' TERM; echo $$ $PPID > pids; while :; do sleep 600 & wait; done";
    let shell = with_grace(GRACE, &format!("sh -c {} & wait", quoted(child))).await;
    let took = cancel(&shell, 2).await;
    assert!(took >= GRACE, "{took:?}");
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
