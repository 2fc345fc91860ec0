//! Captured requests that a neighbour at Redis pushes again, with records of their runs that it has
//! written itself.

use std::time::Duration;

use redcall_common::auth::Keyring;
use redcall_common::settings::OnWorkerLoss;
use redcall_testkit::eventually;
use redcall_tests::{Bench, Program, RunningWorker};
use redcall_worker::{HandlerError, Request, State, Stop};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::{connection, job, keys};
use super::{MESSAGE, Runs, frames, now, push, signed, signing, worker};
use crate::support::{error_frame, response_key};
use redcall_client::Code;

/// Records of a request's runs that a neighbour writes.
const FORGED: [&str; 3] = [
    r#"{"attempt":1,"fails":1,"crashes":0}"#,
    r#"{"attempt":1,"fails":0,"crashes":1}"#,
    r#"{"attempt":3,"fails":1,"crashes":1,"runs":[]}"#,
];

fn keyring(bench: &Bench) -> Keyring {
    Keyring::new(bench.settings.auth.as_ref().unwrap())
}

/// Pushes a request whose answer was taken; it has to be refused.
async fn is_refused(conn: &mut MultiplexedConnection, request: &Value) {
    let id = request["id"].as_str().unwrap();
    let () = conn.del(response_key(id)).await.unwrap();
    push(conn, request).await;
    let expected = [error_frame(id, Code::Unauthorized, MESSAGE, "")];
    let frames = frames(conn, id).await;
    // The run's number comes from the forged record.
    let same = |frame: &String| frame.contains(r#""code":"unauthorized""#);
    assert!(frames.len() == expected.len() && frames.iter().all(same), "{frames:?}");
}

/// Waits for the answer that ends a request.
async fn ends_well(conn: &mut MultiplexedConnection, id: &str) {
    let last = eventually("an end", async || {
        let last: Option<String> = conn.lindex(response_key(id), -1).await.unwrap();
        last.filter(|last| !last.contains(r#""type":"restarted""#) && !last.contains("progress"))
    });
    let last = last.await;
    assert!(last.contains(r#""type":"result""#), "{last}");
}

async fn wait_until(conn: &mut MultiplexedConnection, at: u64) {
    eventually("the signature to expire", async || (now(conn).await > at).then_some(())).await;
}

#[tokio::test]
async fn forged_history_runs_no_captured_request_again() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let request = signed(&keyring(&bench), "once", now(&mut conn).await + 60_000);
    push(&mut conn, &request).await;
    assert!(frames(&mut conn, "once").await[0].contains("result"));
    for record in FORGED {
        let () = conn.hset(keys().attempts(), "once", record).await.unwrap();
        is_refused(&mut conn, &request).await;
    }
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn forged_history_runs_no_expired_request() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let at = now(&mut conn).await;
    let ran = signed(&keyring(&bench), "ran", at + 3_000);
    push(&mut conn, &ran).await;
    assert!(frames(&mut conn, "ran").await[0].contains("result"));
    let never = signed(&keyring(&bench), "never", at + 3_000);
    wait_until(&mut conn, at + 3_000).await;
    for record in FORGED {
        for (id, request) in [("ran", &ran), ("never", &never)] {
            let () = conn.hset(keys().attempts(), id, record).await.unwrap();
            is_refused(&mut conn, request).await;
        }
    }
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn record_of_another_start_runs_no_captured_request_again() {
    let mut bench = signing().await;
    job(&mut bench, "counted").retries.max = 1;
    let runs = Runs::default();
    let _worker = retrying(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let ring = keyring(&bench);
    let until = now(&mut conn).await + 60_000;
    let request = signed(&ring, "once", until);
    push(&mut conn, &request).await;
    assert!(frames(&mut conn, "once").await[0].contains("result"));
    // A request that has begun and not ended: its record permits a retry.
    push(&mut conn, &signed(&ring, "later", until)).await;
    eventually("it to wait for its retry", async || {
        conn.hexists::<_, _, bool>(keys().scheduled(), "later").await.unwrap().then_some(())
    })
    .await;
    let open: String = conn.get(keys().seen("later")).await.unwrap();
    for record in [open.as_str(), "open", "w-1", ""] {
        let () = conn.set(keys().seen("once"), record).await.unwrap();
        let () = conn.hset(keys().attempts(), "once", FORGED[0]).await.unwrap();
        is_refused(&mut conn, &request).await;
    }
    assert_eq!(runs.count(), 2);
}

/// Fails with a delayed retry, if its id requests it.
async fn waits_for_its_retry(request: Request, runs: State<Runs>) -> Result<Value, HandlerError> {
    runs.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    if request.id().starts_with("later") && request.attempt() == 1 {
        return Err(HandlerError::new("not yet").retry_after(Duration::from_millis(1_500)));
    }
    Ok(json!("ran"))
}

async fn retrying(bench: &Bench, runs: &Runs) -> RunningWorker {
    let runs = runs.clone();
    bench.worker_with(|worker| worker.state(runs).handler("counted", waits_for_its_retry)).await
}

#[tokio::test]
async fn retry_after_the_signature_has_expired_runs() {
    let mut bench = signing().await;
    job(&mut bench, "counted").retries.max = 1;
    let runs = Runs::default();
    let _worker = retrying(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let expires_at = now(&mut conn).await + 1_000;
    let request = signed(&keyring(&bench), "later", expires_at);
    push(&mut conn, &request).await;
    ends_well(&mut conn, "later").await;
    assert_eq!(runs.count(), 2);
    assert!(now(&mut conn).await > expires_at);
    // It has ended: nothing of it is remembered, and it runs no more.
    let () = conn.hset(keys().attempts(), "later", FORGED[0]).await.unwrap();
    is_refused(&mut conn, &request).await;
    assert_eq!(runs.count(), 2);
    assert!(!conn.exists::<_, bool>(keys().seen("later")).await.unwrap());
}

/// Never ends.
async fn hangs(runs: State<Runs>) {
    runs.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn run_after_drain_and_expiry_is_not_a_replay() {
    let mut bench = signing().await;
    bench.settings.worker.drain_timeout = Duration::from_millis(50);
    let (hung, runs) = (Runs::default(), Runs::default());
    let state = hung.clone();
    let first = bench.worker_with(|worker| worker.state(state).handler("counted", hangs)).await;
    let mut conn = connection(&bench).await;
    let expires_at = now(&mut conn).await + 1_000;
    push(&mut conn, &signed(&keyring(&bench), "drained", expires_at)).await;
    eventually("it to start", async || (hung.count() == 1).then_some(())).await;
    first.request_stop(Stop::Now);
    first.drain().await;
    wait_until(&mut conn, expires_at).await;
    let _worker = worker(&bench, &runs).await;
    ends_well(&mut conn, "drained").await;
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn take_over_after_the_signature_has_expired_runs() {
    let mut bench = signing().await;
    let mut variables = bench.environment();
    let secret = bench.settings.auth.as_ref().unwrap().keys["web"].secret.reveal().to_owned();
    variables.insert("REDCALL__AUTH__KEYS__WEB__SECRET".to_owned(), secret);
    variables.insert("REDCALL__JOBS__COUNTED__HANDLER".to_owned(), "builtin:sleep".to_owned());
    job(&mut bench, "counted").on_worker_loss = OnWorkerLoss::Rerun;
    let mut conn = connection(&bench).await;
    let expires_at = now(&mut conn).await + 4_000;
    let mut request = signed(&keyring(&bench), "taken", expires_at);
    request["data"] = json!({"ms": 600_000});
    request["auth"] = super::token_of(&keyring(&bench), &request, expires_at);
    let killed = Program::start("redcall-worker", &[], &variables);
    push(&mut conn, &request).await;
    eventually("it to start", async || {
        conn.exists::<_, bool>(keys().seen("taken")).await.unwrap().then_some(())
    })
    .await;
    killed.signal(Signal::KILL);
    killed.wait();
    wait_until(&mut conn, expires_at).await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    ends_well(&mut conn, "taken").await;
    assert_eq!(runs.count(), 1);
}
