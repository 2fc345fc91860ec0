//! `poll.lua` and `poll_fast.lua`, second half: the requests that a worker leases, their order and
//! number.

use redcall_store::{BlockingPop, PollOps as _, QueuePoll, RequestPop as _};
use redis::AsyncCommands;

use crate::lua::{LONG, MIB, Store, TIMEOUT, envelope};

fn sized(id: &str, bytes: usize) -> String {
    let empty = format!(r#"{{"id":"{id}","data":""}}"#);
    format!(r#"{{"id":"{id}","data":"{}"}}"#, "x".repeat(bytes - empty.len()))
}

#[tokio::test]
async fn requests_come_in_order_and_as_many_as_are_asked_for() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let ids: Vec<String> = (0..2000).map(|n| format!("x{n}")).collect();
        store.push_ids(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(store.lease(&own, 0).await, [""; 0]);
        assert_eq!(store.lease(&own, 1).await, ids[..1]);
        let reply = store.poll(&own, 1500, &[]).await;
        assert_eq!((reply.length, reply.parked), (Some(499), 0));
        assert!(reply.leased.iter().map(|leased| &leased.id).eq(&ids[1..1501]));
        assert!(reply.leased.iter().all(|leased| leased.raw == envelope(&leased.id).into_bytes()));
        assert_eq!(store.lease(&own, 60_000).await, ids[1501..]);
        assert_eq!(store.lease(&own, 5).await, [""; 0]);
        assert_eq!(store.live().await.len(), 2000);
        assert_eq!(store.conn.hlen::<_, usize>(&own.leases).await.unwrap(), 2000);
    }
}

#[tokio::test]
async fn ten_requests_of_two_mebibytes_come_in_several_polls() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let ids: Vec<String> = (0..10).map(|n| format!("x{n}")).collect();
        store.push(&ids.iter().map(|id| sized(id, 2 * MIB as usize)).collect::<Vec<_>>()).await;
        let mut polls = Vec::new();
        while polls.len() < 5 {
            let reply = store.poll(&own, 64, &[]).await;
            let bytes: usize = reply.leased.iter().map(|leased| leased.raw.len()).sum();
            assert!(bytes <= 8 * MIB as usize, "{bytes} bytes in one poll");
            polls.push(reply.leased.into_iter().map(|leased| leased.id).collect::<Vec<_>>());
        }
        assert_eq!(polls[..3], [&ids[..4], &ids[4..8], &ids[8..]]);
        assert_eq!(polls.concat(), ids);
    }
}

#[tokio::test]
async fn small_requests_before_large_ones_do_not_lift_the_limit() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let mut elements: Vec<String> = (0..300).map(|n| sized(&format!("s{n}"), 60)).collect();
        elements.extend((0..30).map(|n| sized(&format!("l{n}"), MIB as usize)));
        store.push(&elements).await;
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < elements.len() {
            let reply = store.poll(&own, 1000, &[]).await;
            let bytes: usize = reply.leased.iter().map(|leased| leased.raw.len()).sum();
            assert!(
                bytes <= 8 * MIB as usize && !reply.leased.is_empty(),
                "{bytes} bytes in one poll"
            );
            seen.extend(reply.leased.into_iter().map(|l| String::from_utf8(l.raw).unwrap()));
        }
        assert!(seen == elements, "order is kept");
    }
}

#[tokio::test]
async fn a_request_over_the_limit_of_a_fetch_comes_alone() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own").with_max_request(16 * MIB as usize);
        store.push(&[envelope("a"), sized("huge", 9 * MIB as usize), envelope("b")]).await;
        assert_eq!(store.lease(&own, 10).await, ["a"]);
        assert_eq!(store.lease(&own, 10).await, ["huge"]);
        assert_eq!(store.lease(&own, 10).await, ["b"]);
    }
}

#[tokio::test]
async fn popped_requests_are_leased_first_even_over_capacity() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push_ids(&["c"]).await;
        let inbox = store.keys.inbox("own");
        let () = store.conn.rpush(&inbox, &[envelope("a"), envelope("b")]).await.unwrap();
        // One per poll.
        assert_eq!(store.lease(&own, 0).await, ["a"]);
        assert_eq!(store.lease(&own, 1).await, ["b"]);
        assert_eq!(store.lease(&own, 1).await, ["c"]);
    }
}

#[tokio::test]
async fn blocked_pop_checks_then_leases_its_request() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = std::sync::Arc::new(store.worker("own"));
        store.lives(&own).await;
        let mut pop = BlockingPop::new(store.connector.clone(), own.clone());
        store.push_ids(&["a", "a"]).await;
        let reply = pop.next(TIMEOUT, &[], store.more).await.unwrap();
        let ids: Vec<&str> = reply.leased.iter().map(|leased| leased.id.as_str()).collect();
        // It is not counted, but there is one.
        assert_eq!((ids, reply.length.is_some_and(|length| length > 0)), (vec!["a"], true));
        // The second one has the id of a live request.
        assert!(pop.next(TIMEOUT, &[], store.more).await.unwrap().leased.is_empty());
        let letter = store.dead().await.remove(0);
        assert_eq!(letter[..2], ["a", "invalid_request"]);
        assert!(
            pop.next(std::time::Duration::from_millis(10), &[], store.more)
                .await
                .unwrap()
                .leased
                .is_empty()
        );
    }
}

#[tokio::test]
async fn parked_requests_precede_the_queue_until_the_last() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.beat("own", LONG, &["one", "two"]).await;
        store.push_ids(&["q1", "q2"]).await;
        for (name, ids) in [("one", ["a", "b"]), ("two", ["c", "d"])] {
            let parked = ids.map(envelope);
            let () = store.conn.rpush(store.keys.parked(name), &parked).await.unwrap();
            let () = store.conn.sadd(store.keys.parked_names(), name).await.unwrap();
        }
        let parked = ["one".to_owned(), "two".to_owned()];
        let poll = async |take: usize| {
            let poll = QueuePoll { parked: &parked, ..QueuePoll::take(&own, take) };
            let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
            let ids: Vec<String> = reply.leased.into_iter().map(|leased| leased.id).collect();
            (ids, reply.parked)
        };
        assert_eq!(poll(1).await, (vec!["a".to_owned()], 2));
        assert_eq!(poll(2).await, (["b", "c"].map(str::to_owned).to_vec(), 1));
        assert_eq!(poll(9).await, (["d", "q1", "q2"].map(str::to_owned).to_vec(), 0));
    }
}

#[tokio::test]
async fn request_with_unreadable_or_live_id_is_dead_lettered() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let (own, other) = (store.worker("own"), store.worker("other"));
        store.push_ids(&["a"]).await;
        assert_eq!(store.lease(&other, 1).await, ["a"]);
        let good = [
            r#" { "id" : "b" }"#,
            r#"{"name":"x","id":"c"}"#,
            r#"{"id":"\u0064"}"#,
            r#"{"id":"-_Z9"}"#,
        ];
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(65));
        let bad = ["", "nonsense", "[]", "null", r#"{"id":7}"#, r#"{"id":"a b"}"#, &long];
        let live = r#"{"id":"a"}"#;
        let elements: Vec<&str> = bad.into_iter().chain([live]).chain(good).collect();
        store.push(&elements.iter().map(ToString::to_string).collect::<Vec<_>>()).await;
        assert_eq!(store.lease(&own, 100).await, ["b", "c", "d", "-_Z9"]);
        let no_id = "not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-] in its first 4 KiB";
        let twice = "a live request of this queue has the same id";
        let letter = |id: &str, reason: &str, raw: &str| {
            [id, "invalid_request", reason, "own", raw].map(str::to_owned)
        };
        let mut letters: Vec<_> = bad.iter().map(|raw| letter("", no_id, raw)).collect();
        letters.push(letter("a", twice, live));
        assert_eq!(store.dead().await, letters);
        assert_eq!(
            store.conn.hget::<_, _, String>(store.keys.live(), "a").await.unwrap(),
            format!("{:<65}", "other")
        );
    }
}

#[tokio::test]
async fn several_queues_are_polled_in_one_write() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let keys = redcall_common::keys::Keys::new("redcall").of("second");
        let (first, age) = (store.worker("own"), std::time::Duration::from_secs(3600));
        let second = redcall_store::WorkerKeys::new(keys.clone(), "own", 100, age);
        store.push_ids(&["a", "b"]).await;
        let () = store.conn.rpush(keys.queue(), envelope("a")).await.unwrap();
        store.lives(&first).await;
        store.lives(&second).await;
        let poll = QueuePoll::take;
        let polls = [poll(&second, 5), poll(&first, 1)];
        let replies = store.link.poll(&polls, TIMEOUT).await.unwrap();
        let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
        let ids: Vec<Vec<&str>> = replies
            .iter()
            .map(|reply| reply.leased.iter().map(|leased| leased.id.as_str()).collect())
            .collect();
        assert_eq!(ids, [["a"], ["a"]]);
        assert_eq!(
            replies.iter().map(|reply| reply.length).collect::<Vec<_>>(),
            [Some(0), Some(1)]
        );
    }
}
