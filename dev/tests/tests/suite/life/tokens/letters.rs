//! Dead letters of signed requests: retried under the operator's key, or not at all.

use redcall_client::{Code, DeadSelection};
use redcall_common::settings::AuthSettings;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::Value;

use super::super::{connection, dead_letter, keys};
use super::{Runs, auth, client, signing, worker};
use crate::support::DEAD;

const BOTH: [(&str, &str); 2] = [("web", "*"), ("operator", "*")];

/// A bench with one dead letter of a signed request.
async fn with_letter(runs: &Runs) -> (Bench, String) {
    let mut bench = signing().await;
    bench.settings.auth = Some(auth(&BOTH, Some("web")));
    let running = worker(&bench, runs).await;
    let receipt = bench.client().await.request("counted").data("fails").send().await.unwrap();
    let mut conn = connection(&bench).await;
    assert_eq!(dead_letter(&mut conn).await["code"], "handler_failed");
    running.drain().await;
    (bench, receipt.id)
}

#[tokio::test]
async fn signed_letter_is_retried_under_the_key_of_the_operator() {
    let runs = Runs::default();
    let (bench, id) = with_letter(&runs).await;
    let mut conn = connection(&bench).await;
    let operator = client(&bench, Some(auth(&BOTH, Some("operator")))).await;
    let report = operator.dead("default").retry(&DeadSelection::default(), false).await.unwrap();
    assert_eq!((report.done.len(), report.skipped.len()), (1, 0));
    assert_eq!(report.done[0].id, id);
    let raw: String = conn.lindex(keys().queue(), 0).await.unwrap();
    let request: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(request["auth"]["key"], "operator");
    assert_eq!(request["headers"]["retry_of"], *id);
    // Under its own id it would be a copy.
    assert_ne!(request["id"], *id);
    assert_eq!(Some(request["id"].as_str().unwrap()), report.done[0].retried_as.as_deref());
    let _worker = worker(&bench, &runs).await;
    // It fails again: it was run.
    assert_eq!(dead_letter(&mut conn).await["code"], "handler_failed");
    assert_eq!(runs.count(), 2);
}

#[tokio::test]
async fn signed_letter_is_not_retried_without_a_key_to_sign_with() {
    let runs = Runs::default();
    let (bench, id) = with_letter(&runs).await;
    let mut conn = connection(&bench).await;
    let without: [Option<AuthSettings>; 2] = [None, Some(auth(&BOTH, None))];
    for settings in without {
        let operator = client(&bench, settings).await;
        for dry_run in [true, false] {
            let dead = operator.dead("default");
            let report = dead.retry(&DeadSelection::default(), dry_run).await.unwrap();
            assert!(report.done.is_empty(), "{report:?}");
            assert_eq!(report.skipped[0].id, id);
            let reason = &report.skipped[0].reason;
            assert!(reason.contains("signed") && reason.contains("auth.sign_with"), "{reason}");
        }
    }
    assert_eq!(conn.llen::<_, usize>(keys().queue()).await.unwrap(), 0);
    let left: usize = redis::cmd("XLEN").arg(DEAD).query_async(&mut conn).await.unwrap();
    assert_eq!(left, 1);
}

#[tokio::test]
async fn unsigned_letter_is_retried_as_it_was() {
    let mut bench = signing().await;
    bench.settings.auth = None;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let caller = bench.client().await;
    let receipt = caller.request("counted").data("fails").send().await.unwrap();
    let mut conn = connection(&bench).await;
    assert_eq!(dead_letter(&mut conn).await["id"], receipt.id);
    let report = caller.dead("default").retry(&DeadSelection::default(), false).await.unwrap();
    assert_eq!((report.done.len(), report.done[0].retried_as.as_deref()), (1, None));
    eventually("it to run again", async || (runs.count() == 2).then_some(())).await;
    assert_eq!(
        caller.call_and_wait("counted", "x").await.map_err(|e| e.code()).map(drop),
        Ok::<_, Code>(())
    );
}
