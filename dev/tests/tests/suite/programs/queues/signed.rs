//! `redcall dead retry` where requests are signed.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::{BTreeMap, BTreeSet};

use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::support::{DEAD, QUEUE, Ran, SettingsFile};

/// Settings with the keys `web` and `operator`, which sign with `sign_with`.
fn settings(sign_with: Option<&str>) -> SettingsFile {
    let sign = sign_with.map_or_else(String::new, |key| format!("sign_with = '{key}'\n"));
    let key = |name: &str| {
        format!("[auth.keys.{name}]\nsecret = '{name}-0123456789abcdef0123456789abcdef'\n")
    };
    SettingsFile::new(&format!("[auth]\n{sign}{}{}", key("web"), key("operator")))
}

async fn redcall(settings: &SettingsFile, args: &[&str], env: &BTreeMap<String, String>) -> Ran {
    Ran::new("redcall", &[args, &["--settings", settings.arg()]].concat(), env).await
}

/// The letters of the queue, as soon as there are `count`, oldest first: entry and id.
async fn letters(conn: &mut MultiplexedConnection, count: usize) -> Vec<(String, String)> {
    eventually("the dead letters", async || {
        let letters: Vec<(String, BTreeMap<String, String>)> =
            redis::cmd("XRANGE").arg(DEAD).arg("-").arg("+").query_async(conn).await.unwrap();
        let ids = letters.into_iter().map(|(entry, fields)| (entry, fields["id"].clone()));
        (ids.len() == count).then(|| ids.collect())
    })
    .await
}

/// A server with dead letters of two signed calls of `fail`, and their ids.
async fn with_letters() -> (Bench, Vec<(String, String)>) {
    let bench = Bench::new().await;
    let (env, web) = (bench.environment(), settings(Some("web")));
    let _worker = Program::start("redcall-worker", &["--settings", web.arg()], &env);
    for _ in 0..2 {
        assert_eq!(redcall(&web, &["call", "fail"], &env).await.code, 0);
    }
    let letters = letters(&mut bench.redis.connection().await, 2).await;
    (bench, letters)
}

/// The queued requests, in the order of their arrival: id, key that signed, id that is retried.
async fn queued(conn: &mut MultiplexedConnection) -> Vec<[String; 3]> {
    let requests: Vec<String> = conn.lrange(QUEUE, 0, -1).await.unwrap();
    let read = |request: &String| {
        let request: Value = serde_json::from_str(request).unwrap();
        let texts = [&request["id"], &request["auth"]["key"], &request["headers"]["retry_of"]];
        texts.map(|text| text.as_str().unwrap_or_default().to_owned())
    };
    requests.iter().map(read).collect()
}

#[tokio::test]
async fn signed_letters_are_signed_again_and_their_new_ids_printed() {
    let (bench, letters_before) = with_letters().await;
    let (env, operator) = (bench.environment(), settings(Some("operator")));
    let mut conn = bench.redis.connection().await;
    let [(first_entry, first), (second_entry, second)] = &letters_before[..] else {
        panic!("{letters_before:?}")
    };

    // A dry run queues nothing: it has no new id to print.
    let ran = redcall(&operator, &["dead", "retry", "--all", "--dry-run"], &env).await;
    assert!(ran.stdout.ends_with("2 would be requeued\n"), "{ran:?}");
    assert_eq!((ran.code, ran.stdout.contains("RETRIED AS")), (0, false));
    let ran = redcall(&operator, &["dead", "retry", "--all", "--dry-run", "--json"], &env).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["done"][0].get("retried_as"), None);

    let ran = redcall(&operator, &["dead", "retry", first], &env).await;
    let queue = queued(&mut conn).await;
    let [id, key, of] = &queue[0];
    assert_eq!((ran.code, &**key, of), (0, "operator", first), "{ran:?}");
    assert_ne!(id, first);
    let lines = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            vec!["ENTRY", "ID", "JOB", "RETRIED", "AS"],
            vec![&**first_entry, first, "fail", id],
            vec!["1", "requeued"],
        ]
    );

    let ran = redcall(&operator, &["dead", "retry", "--all", "--json"], &env).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let queue = queued(&mut conn).await;
    let done = &report["done"][0];
    assert_eq!((&done["entry"], &done["id"]), (&(**second_entry).into(), &(**second).into()));
    assert_eq!(done["retried_as"], *queue[1][0]);
    assert_eq!(queue[1][1..], ["operator".to_owned(), second.clone()]);

    // A worker accepts both: they fail once more, under their new ids.
    let web = settings(Some("web"));
    let _worker = Program::start("redcall-worker", &["--settings", web.arg()], &env);
    // In any order, since they run at once.
    let ran_again = letters(&mut conn, 2).await.into_iter().map(|(_, id)| id);
    let expected = queue.iter().map(|[id, _, _]| id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ran_again.collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn signed_letters_stay_where_the_operator_has_no_key() {
    let (bench, before) = with_letters().await;
    let env = bench.environment();
    let mut conn = bench.redis.connection().await;
    for settings in [settings(None), SettingsFile::new("")] {
        let ran = redcall(&settings, &["dead", "retry", "--all"], &env).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stdout.starts_with("0 requeued\n"), "{ran:?}");
        ran.stderr_has("2 cannot be retried");
        let ran = redcall(&settings, &["dead", "retry", "--all", "--json"], &env).await;
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, report["done"].as_array().unwrap().len()), (1, 0));
        for (skipped, (entry, id)) in report["skipped"].as_array().unwrap().iter().zip(&before) {
            assert_eq!((&skipped["entry"], &skipped["id"]), (&(**entry).into(), &(**id).into()));
            assert!(skipped["reason"].as_str().unwrap().contains("auth.sign_with"), "{skipped}");
        }
    }
    assert_eq!(queued(&mut conn).await, Vec::<[String; 3]>::new());
    assert_eq!(letters(&mut conn, 2).await, before);
}
