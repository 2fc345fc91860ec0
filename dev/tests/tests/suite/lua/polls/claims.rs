//! `claim.lua` and `unique.lua`: leased requests that equal another one.

use std::time::Duration;

use redcall_store::{
    Claim, Claimed, Outcome, Remembered, RunOps as _, Settled, Settlement, WorkerKeys,
};
use redis::AsyncCommands;

use crate::lua::{Store, TIMEOUT, outcome};

async fn claim(store: &Store, own: &WorkerKeys, id: &str, data: &str, at: Option<u64>) -> Claimed {
    let reply = store.reply(id);
    let (call, reply) = ("call", Some(&reply));
    let claim = Claim { id, call, data, deadline_ms: at, reply, status_ttl_ms: None };
    store.link.claim(own, &claim, TIMEOUT).await.unwrap()
}

#[tokio::test]
async fn the_first_runs_and_the_same_joins_it() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let record = store.keys.idem("call");
    assert_eq!(claim(&store, &own, "a", "d", None).await, Claimed::LeaseLost);
    store.push_ids(&["a", "b", "c"]).await;
    store.lease(&own, 3).await;
    assert_eq!(claim(&store, &own, "a", "d", Some(1000)).await, Claimed::Run(Some(1000)));
    assert_eq!(claim(&store, &own, "b", "d", Some(900)).await, Claimed::Joined);
    assert_eq!(claim(&store, &own, "c", "other", None).await, Claimed::Conflict);
    // The longest time counts, and none is longer than any.
    assert_eq!(claim(&store, &own, "a", "d", Some(1000)).await, Claimed::Run(Some(1000)));
    assert_eq!(claim(&store, &own, "b", "d", None).await, Claimed::Joined);
    assert_eq!(claim(&store, &own, "a", "d", Some(1000)).await, Claimed::Run(None));
    assert_eq!(claim(&store, &own, "b", "d", Some(2000)).await, Claimed::Joined);
    assert_eq!(claim(&store, &own, "a", "d", Some(1000)).await, Claimed::Run(None));
    let ttl: i64 = store.conn.pttl(&record).await.unwrap();
    assert!(ttl > 86_400_000, "{ttl}");
    let waiter: String = store.conn.hget(&record, "w:b").await.unwrap();
    assert_eq!(waiter, format!("60000 {}", crate::lua::CHANNEL));
}

#[tokio::test]
async fn a_hundred_may_wait_for_one_call() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let ids: Vec<String> = (0..101).map(|n| format!("r{n}")).collect();
    store.push_ids(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    store.lease(&own, 101).await;
    let mut joined = 0;
    for id in &ids[..100] {
        joined += usize::from(claim(&store, &own, id, "d", None).await == Claimed::Joined);
    }
    assert_eq!(joined, 99);
    assert_eq!(claim(&store, &own, "r100", "d", None).await, Claimed::TooManyWaiters);
}

#[tokio::test]
async fn ended_call_is_repeated_and_cancelled_call_runs_again() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let record = store.keys.idem("call");
    store.push_ids(&["a", "b"]).await;
    store.lease(&own, 2).await;
    let ended = [("id", "old"), ("digest", "d"), ("deadline", "0"), ("tail", r#","x":1}"#)];
    let () = store.conn.hset_multiple(&record, &ended).await.unwrap();
    let expected = Claimed::Ended(r#","x":1}"#.to_owned());
    assert_eq!(claim(&store, &own, "a", "d", None).await, expected);
    assert_eq!(claim(&store, &own, "a", "e", None).await, Claimed::Conflict);
    let () = store.conn.hdel(&record, "tail").await.unwrap();
    let () = store.conn.zadd(store.keys.cancelled(), "old", 9e15).await.unwrap();
    assert_eq!(claim(&store, &own, "a", "e", None).await, Claimed::Run(None));
}

#[tokio::test]
async fn joined_caller_learns_of_the_cancel_when_it_runs_again() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["old", "b", "c"]).await;
    store.lease(&own, 3).await;
    for id in ["old", "b"] {
        claim(&store, &own, id, "d", None).await;
    }
    let () = store.conn.zadd(store.keys.cancelled(), "old", 9e15).await.unwrap();
    assert_eq!(claim(&store, &own, "c", "e", None).await, Claimed::Run(None));
    let frame = [
        r#"{"id":"b","response_key":"redcall:{q}:response:b","type":"error","seq":1,"attempt":1,"#,
        r#""error":{"code":"cancelled","message":"the call was cancelled"}}"#,
    ];
    let frame = frame.concat();
    assert_eq!(store.frames("b").await, [frame.as_str()]);
    assert_eq!(store.received().await, [format!("[{frame}]")]);
    let ttl: i64 = store.conn.pttl(store.keys.response("b")).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    // The cancelled one is notified by its own worker.
    assert!(store.frames("old").await.is_empty() && store.frames("c").await.is_empty());
}

#[tokio::test]
async fn one_of_a_kind_runs_per_window() {
    let mut store = Store::new().await;
    let minute = Duration::from_secs(60);
    let is_first = async |id: &str, at| {
        store.link.is_first(&store.keys, "kind", id, at, minute, TIMEOUT).await.unwrap()
    };
    assert!(is_first("a", Some(1_000_000)).await);
    assert!(is_first("a", Some(1_000_000)).await, "the same one, started again");
    assert!(!is_first("b", Some(1_059_999)).await && !is_first("c", Some(940_001)).await);
    // Enqueued after the window, however late the first one ran.
    assert!(is_first("d", Some(1_060_000)).await);
    assert!(!is_first("e", Some(1_060_001)).await);
    let ttl: i64 = store.conn.pttl(store.keys.unique("kind")).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    assert!(is_first("now", None).await, "no time given: now");
}

#[tokio::test]
async fn signed_start_is_remembered_until_its_signature_expires() {
    let mut store = Store::new().await;
    let until = store.now_ms().await + 60_000;
    let remember = async |id: &str, records, until| {
        store.link.remember(&store.keys, id, records, until, TIMEOUT).await.unwrap()
    };
    let no = |found: &str| Remembered::No(Some(found.to_owned()));
    assert_eq!(remember("a", ("one", None), until).await, Remembered::Yes);
    assert_eq!(remember("a", ("one", None), until).await, Remembered::Yes, "the reply was lost");
    assert_eq!(remember("a", ("two", None), until).await, no("one"));
    assert_eq!(remember("b", ("two", None), until).await, Remembered::Yes);
    // Only the judged value is replaced.
    assert_eq!(remember("a", ("two", Some("none")), until).await, no("one"));
    assert_eq!(remember("a", ("two", Some("one")), until).await, Remembered::Yes);
    assert_eq!(remember("a", ("two", Some("one")), until).await, Remembered::Yes, "the same");
    assert_eq!(remember("a", ("three", Some("one")), until).await, no("two"));
    assert_eq!(remember("c", ("two", Some("one")), until).await, Remembered::No(None));
    let recall = async |id: &str| store.link.recall(&store.keys, id, TIMEOUT).await.unwrap();
    assert_eq!((recall("a").await.as_deref(), recall("c").await), (Some("two"), None));
    // An expired start is not remembered: its request cannot start again.
    assert_eq!(remember("d", ("one", None), 1000).await, Remembered::Yes);
    assert_eq!(remember("d", ("two", None), 1000).await, Remembered::Yes);
    let ttl: i64 = store.conn.pttl(store.keys.seen("a")).await.unwrap();
    // The time at Redis is an estimate here.
    assert!((1..=61_000).contains(&ttl), "{ttl}");
}

/// Both scripts of a poll write it, in the step that ends the request.
#[tokio::test]
async fn end_of_a_signed_request_is_remembered_with_its_settlement() {
    for more in [false, true] {
        let mut store = Store::new().await;
        store.more = more;
        let own = store.worker("own");
        let until = store.now_ms().await + 60_000;
        let far = until + 600_000;
        store.push_ids(&["a", "b", "c", "d", "e"]).await;
        assert_eq!(store.lease(&own, 4).await, ["a", "b", "c", "d"]);
        for id in ["a", "b", "c", "lost"] {
            let open = store.link.remember(&store.keys, id, ("open", None), far, TIMEOUT).await;
            assert_eq!(open.unwrap(), Remembered::Yes);
        }
        let ended = |id: &str| Outcome { spent: Some(until), ..outcome(id, Settlement::Done) };
        // One was not started, one is lost, one is not signed.
        let outcomes = [ended("a"), ended("lost"), ended("d"), outcome("c", Settlement::Done)];
        let settled = store.poll(&own, 0, &outcomes).await.settled;
        let (yes, lost) = (Settled::Yes, Settled::LeaseLost);
        assert_eq!(settled, [yes, lost, yes, yes], "{more}");
        let mut seen = Vec::new();
        for id in ["a", "b", "c", "d", "lost"] {
            seen.push(store.conn.get::<_, Option<String>>(store.keys.seen(id)).await.unwrap());
        }
        let seen: Vec<Option<&str>> = seen.iter().map(Option::as_deref).collect();
        let open = Some("open");
        assert_eq!(seen, [Some("ended"), open, open, None, open], "{more}");
        let ttl: i64 = store.conn.pttl(store.keys.seen("a")).await.unwrap();
        assert!((1..=60_000).contains(&ttl), "{ttl}");
        // A request that continues may be started again.
        let again = Settlement::Rerun { attempt: 1 };
        let again = Outcome { spent: Some(until), ..outcome("b", again) };
        assert_eq!(store.poll(&own, 0, &[again]).await.settled, [yes]);
        let seen: String = store.conn.get(store.keys.seen("b")).await.unwrap();
        assert_eq!(seen, "open");
    }
}
