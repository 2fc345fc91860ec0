//! The scripts stay correct despite faults: foreign keys, lost replies, a lost registry, an expired
//! worker.

use redcall_store::{PollOps as _, Pushed, RunOps as _, SendOps as _, Settled};
use redis::AsyncCommands;

use crate::lua::{LONG, Store, TIMEOUT, envelope};

#[tokio::test]
async fn a_foreign_value_at_a_response_key_costs_only_that_answer() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b", "c"]).await;
    assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
    let () = store.conn.set(store.keys.response("a"), "not a list").await.unwrap();
    let outcomes = [store.answer("a", r#"{"a":1}"#), store.answer("b", r#"{"b":1}"#)];
    let reply = store.poll(&own, 1, &outcomes).await;
    assert_eq!(reply.settled, [Settled::Yes; 2]);
    assert_eq!(reply.leased[0].id, "c");
    assert_eq!(store.frames("b").await, [r#"{"b":1}"#]);
    assert_eq!(store.received().await, [r#"[{"b":1}]"#]);
    assert_eq!(store.live().await, ["c"]);
    let dead = store.dead().await;
    assert_eq!((dead.len(), dead[0][0].as_str(), dead[0][4].as_str()), (1, "a", r#"{"a":1}"#));
}

#[tokio::test]
async fn failed_script_is_named_in_its_error() {
    let mut store = Store::new().await;
    let () = store.conn.set(store.keys.queue(), "not a list").await.unwrap();
    let items = [crate::lua::item(false, &envelope("a"))];
    let error = store.link.enqueue(&store.keys, 0, &items, &[], TIMEOUT).await.unwrap_err();
    let message = error.to_string();
    assert!(message.starts_with("Redis refused the script `enqueue` (WRONGTYPE "), "{message}");
    // Its command and its key.
    let place = "; at `length = redis.call('RPUSH', KEYS[1], unpack(ARGV, first + i, first + \
                 math.min(i + 999, upto)))`; `redcall:{q}:queue` is a string instead of a list";
    assert!(message.ends_with(place), "{message}");
    assert!(error.is_of_the_key() && error.is_refused() && !error.may_have_happened(), "{error:?}");
    // A poll settles as many outcomes as it can, and returns the reason why it leases nothing.
    let own = store.worker("own");
    let trouble = store.poll(&own, 1, &[]).await.trouble.unwrap();
    assert!(trouble.starts_with("WRONGTYPE "), "{trouble}");
    let place = "; LPOP redcall:{q}:queue; script `poll_fast`; `redcall:{q}:queue` is a string \
                 instead of a list";
    assert!(trouble.ends_with(place), "{trouble}");
    // The same where several go out in one write, and fail as a whole.
    let () = store.conn.set(store.keys.workers(), "no zset").await.unwrap();
    let own = ["own", "other"].map(|worker| store.worker(worker));
    let polls = own.each_ref().map(|keys| redcall_store::QueuePoll::take(keys, 1));
    for reply in store.link.poll(&polls, TIMEOUT).await.unwrap() {
        let message = reply.unwrap_err().to_string();
        assert!(
            message.starts_with("Redis refused the script `poll_fast` (WRONGTYPE "),
            "{message}"
        );
        let place = "; at `local alive = redis.call('ZSCORE', KEYS[6], worker)`; \
                     `redcall:{q}:queue` is a string instead of a list; \
                     `redcall:{q}:workers` is a string instead of a zset";
        assert!(message.ends_with(place), "{message}");
    }
}

#[tokio::test]
async fn expired_worker_leases_nothing_before_its_heartbeat() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["b"]).await;
    // Requests that its blocked pop has moved go back, before and after a take-over.
    for ended in [true, false] {
        let () = store.conn.rpush(store.keys.inbox("own"), envelope("a")).await.unwrap();
        if ended {
            let () = store.conn.zadd(store.keys.workers(), "own", 1).await.unwrap();
        } else {
            let () = store.conn.del(store.keys.workers()).await.unwrap();
        }
        let poll = redcall_store::QueuePoll::take(&own, 5);
        let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
        assert!(reply.expired && !reply.paused && reply.leased.is_empty(), "{reply:?}");
        assert_eq!(store.queued().await, ["a", "b"].map(envelope));
        let _: String = store.conn.lpop(store.keys.queue(), None).await.unwrap();
    }
    crate::lua::upkeep::registry::beat(&store, "own", LONG, &[]).await;
    assert_eq!(store.lease(&own, 5).await, ["b"]);
}

#[tokio::test]
async fn lost_registry_is_rebuilt_from_the_leases() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let () = store.conn.del(store.keys.workers()).await.unwrap();
    let beat = crate::lua::upkeep::registry::beat(&store, "other", LONG, &[]).await;
    assert_eq!(beat.dead, ["own"]);
}

#[tokio::test]
async fn heartbeat_reports_its_workers_lease_count() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
    assert_eq!(crate::lua::upkeep::registry::beat(&store, "own", LONG, &[]).await.held, 2);
    assert_eq!(crate::lua::upkeep::registry::beat(&store, "other", LONG, &[]).await.held, 0);
    let held = store.link.held(&own, TIMEOUT).await.unwrap();
    let mut raw: Vec<String> =
        held.into_iter().map(|leased| String::from_utf8(leased.raw).unwrap()).collect();
    raw.sort_unstable();
    assert_eq!(raw, [envelope("a"), envelope("b")]);
}

#[tokio::test]
async fn a_frame_sent_again_is_pushed_once_and_shortens_no_time() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let (reply, key) = (store.reply("a"), store.keys.response("a"));
    let () = store.conn.rpush(&key, "pending").await.unwrap();
    let () = store.conn.pexpire(&key, 7_000_000).await.unwrap();
    for _ in 0..2 {
        let pushing = store.link.push_frame(&own.leases, "a", &reply, "one", 10, TIMEOUT);
        assert_eq!(pushing.await.unwrap(), Pushed::Yes);
    }
    assert_eq!(store.frames("a").await, ["pending", "one"]);
    let ttl: i64 = store.conn.pttl(&key).await.unwrap();
    assert!(ttl > 6_000_000, "{ttl}");
}
