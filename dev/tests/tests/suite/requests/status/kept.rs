//! The kept statuses, their lifetimes, and that untracked jobs keep none.

use std::time::Duration;

use redcall_client::{Code, JobState};
use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::json;

use super::{Gate, KEPT, Pending, Success, is_not_found, key, record, rest, shown, worker};

#[tokio::test]
async fn status_record_exists_during_the_job_and_expires() {
    let mut bench = Bench::new().await;
    let mut job = bench.settings.jobs["echo"].clone();
    job.kind = redcall_common::settings::HandlerSettings::Compiled("gated".to_owned());
    job.timeout = Duration::from_secs(1000);
    bench.settings.jobs.insert("gated".to_owned(), job);
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let mut ttl = async |id: &str| {
        let ttl: i64 = conn.pttl(key(id)).await.unwrap();
        Duration::from_millis(u64::try_from(ttl).unwrap())
    };
    let minute = Duration::from_secs(60);
    let plain = client.request("echo").track_status(KEPT).submit().await.unwrap();
    let left = ttl(&plain.id).await;
    assert!(left <= KEPT && left > KEPT - minute / 2, "{left:?}");
    // Delayed by an hour, with a caller that waits for another one.
    let hour = Duration::from_secs(3600);
    let later = client.request("echo").track_status(KEPT).delay(hour).timeout(hour);
    let later = later.submit().await.unwrap();
    let left = ttl(&later.id).await;
    assert!(left <= 2 * hour + KEPT && left > 2 * hour, "{left:?}");
    let gate = Gate::new();
    let _worker = worker(&bench, &gate).await;
    let long = client.request("gated").track_status(KEPT).submit().await.unwrap();
    let mut monitor = long.monitor(minute).await.unwrap();
    while super::next(&mut monitor).await.state == Pending {}
    let left = ttl(&long.id).await;
    assert!(left > Duration::from_secs(1000) && left <= KEPT + Duration::from_secs(1000));
    gate.open(1);
    rest(&mut monitor).await;
    let left = ttl(&long.id).await;
    assert!(left <= KEPT && left > KEPT - minute / 2, "{left:?}");
}

#[tokio::test]
async fn no_more_than_64_states_are_kept() {
    let mut bench = Bench::new().await;
    let mut job = bench.settings.jobs["fail"].clone();
    job.retries.max = 100;
    job.retries.base = Duration::from_millis(1);
    job.retries.cap = Duration::from_millis(1);
    bench.settings.jobs.insert("fail".to_owned(), job);
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let ticket = client.request("fail").data(&json!({})).track_status(KEPT).submit().await.unwrap();
    ticket.wait().await.unwrap_err();
    let states = ticket.history().await.unwrap();
    assert_eq!((states.len(), states[63].attempt), (64, 101));
    assert_eq!(states[62].state, JobState::Processing);
}

#[tokio::test]
async fn untracked_status_is_not_found_and_invalid_refused() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let ticket = client.request("echo").submit().await.unwrap();
    is_not_found(client.status(&ticket).await);
    is_not_found(client.status(&ticket.id).await);
    is_not_found(client.monitor(&ticket.response_key).await);
    is_not_found(client.status(("another", "id")).await);
    is_not_found(client.status("no-such-id").await);
    ticket.wait().await.unwrap();
    for wrong in ["no id", "", "redcall:{default}:queue", "redcall:{default}:response:a:b"] {
        let error = client.status(wrong).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidRequest, "{wrong}");
    }
    let error = client.status(("no queue", "id")).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
    for kept in [Duration::from_millis(999), Duration::from_secs(7 * 86_400 + 1)] {
        let refused = client.request("echo").track_status(kept).submit().await;
        assert_eq!(refused.err().unwrap().code(), Code::InvalidRequest);
    }
}

#[tokio::test]
async fn something_else_at_its_place_keeps_no_job_from_its_answer() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let ticket = client.request("echo").data(&7).track_status(KEPT).submit().await.unwrap();
    let mut conn = bench.redis.connection().await;
    let () = conn.del(key(&ticket.id)).await.unwrap();
    let () = conn.set(key(&ticket.id), "not ours").await.unwrap();
    let _worker = bench.worker().await;
    assert_eq!(ticket.wait().await.unwrap().json::<u32>().unwrap(), 7);
    assert_eq!(conn.get::<_, String>(key(&ticket.id)).await.unwrap(), "not ours");
    assert_eq!(ticket.status().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn status_record_matches_the_protocol() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let ticket = client.request("fail").data(&json!({"message": "no — \"not\" today"}));
    let ticket = ticket.track_status(KEPT).submit().await.unwrap();
    ticket.wait().await.unwrap_err();
    let worker = bench.workers().await.remove(0).id;
    let times = ticket.history().await.unwrap();
    let [at0, at1, at2] = [0, 1, 2].map(|n: usize| times[n].at_ms);
    let error = r#"{"code":"handler_failed","message":"no — \"not\" today"}"#;
    assert_eq!(
        record(&bench, &ticket.id).await,
        [
            format!(r#"{{"status":"Pending","at_ms":{at0},"attempt":0}}"#),
            format!(r#"{{"status":"Processing","at_ms":{at1},"attempt":1,"worker":"{worker}"}}"#),
            format!(r#"{{"status":"Error","at_ms":{at2},"attempt":1,"error":{error}}}"#),
        ]
    );
    let answered = client.request("echo").track_status(KEPT).wait().await.unwrap();
    let states = client.status_history(&answered.id).await.unwrap();
    assert_eq!(shown(&states)[2], (Success, 1));
    let end = format!(r#"{{"status":"Success","at_ms":{},"attempt":1}}"#, states[2].at_ms);
    assert_eq!(record(&bench, &answered.id).await[2], end);
}
