//! Reads and administrative calls have errors of their own: they queue nothing in any case.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_testkit::RestartableRedis;
use redcall_tests::Bench;

use crate::support::{RESPONSE_KEY, Ran};

/// Phrases about calls.
const OF_CALLS: [&str; 4] = ["queued", "running twice", "may have run", "It did not run"];

#[track_caller]
fn of_its_own(args: &[&str], ran: &Ran, code: i32) {
    assert_eq!((ran.code, &*ran.stdout), (code, ""), "{args:?}: {ran:?}");
    assert!(!ran.stderr.is_empty(), "{args:?}");
    let flat = ran.stderr.replace(['│', '\n'], " ");
    let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    let wrong = OF_CALLS.into_iter().find(|text| flat.contains(text));
    assert_eq!(wrong, None, "{args:?}: {flat}");
    assert!(!flat.contains("may_be_queued"), "{args:?}: {flat}");
}

#[tokio::test]
async fn refused_query_does_not_mention_queueing() {
    let bench = Bench::new().await;
    let env = bench.environment();
    for (args, code) in [
        (&["status", "abc"][..], 1),
        (&["status", "x!y"], 2),
        (&["status", "x", "--queue", "a b"], 2),
        (&["monitor", "abc"], 1),
        (&["monitor", "x!y"], 2),
        (&["cancel", "x!y"], 2),
        (&["cancel", "x", "--queue", "a b"], 2),
        (&["follow", "nonsense"], 1),
        (&["follow", RESPONSE_KEY], 1),
        (&["service", "counter", "state"], 1),
    ] {
        of_its_own(args, &Ran::new("redcall", args, &env).await, code);
        let args = [args, &["--json"]].concat();
        of_its_own(&args, &Ran::new("redcall", &args, &env).await, code);
    }
}

#[tokio::test]
async fn query_to_a_silent_redis_does_not_mention_queueing() {
    let mut redis = RestartableRedis::start().await;
    let mut settings = redcall_common::settings::Settings::default();
    settings.redis = redis.settings();
    settings.client.timeout = std::time::Duration::from_millis(300);
    let client = redcall_client::Client::from_settings(&settings).await.unwrap();
    redis.kill();
    let errors = [
        client.status("abc").await.unwrap_err(),
        client.status(("default", "abc")).await.unwrap_err(),
        client.monitor(("default", "abc")).await.err().unwrap(),
        client.cancel("abc").await.unwrap_err(),
        client.cancel_in("default", "abc").await.unwrap_err(),
        client.pause("default").await.unwrap_err(),
        client.resume("default").await.unwrap_err(),
        client.is_paused("default").await.unwrap_err(),
        client.fetch(RESPONSE_KEY).await.unwrap_err(),
        client.follow(RESPONSE_KEY, 1).await.err().unwrap(),
        client.service("counter").state(settings.client.timeout).await.unwrap_err(),
    ];
    for (at, error) in errors.iter().enumerate() {
        let text = error.to_string();
        assert!(!text.contains("queued") && !text.contains("may have run"), "{at}: {text}");
        assert!(error.is_read_or_admin(), "{at}: {text}");
        let code = error.code().as_str();
        assert!(["unavailable", "deadline_exceeded"].contains(&code), "{at}: {text}");
    }
    // An enqueue reports it, as before.
    let error = client.call("add", &1).await.unwrap_err();
    assert!(error.to_string().ends_with("(not queued)"), "{error}");
}
