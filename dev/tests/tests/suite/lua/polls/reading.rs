//! `poll.lua` and `poll_fast.lua`, second half: how much of foreign elements Redis reads, and how.

use redcall_common::settings::Limit;
use redcall_store::{BlockingPop, LimitRule, PollOps as _, QueuePoll, RequestPop as _};
use redis::AsyncCommands;

use crate::lua::{MIB, Store, TIMEOUT, envelope};

/// Brackets, which take long to decode: this many bytes.
fn brackets(bytes: usize) -> String {
    let mut text = "[],".repeat(bytes / 3 + 1);
    text.truncate(bytes);
    text
}

#[tokio::test]
async fn oversize_element_is_dead_lettered_in_part_and_answered() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own").with_max_request(100_000);
        let text = "x".repeat(200_000);
        let key = store.keys.response("a");
        let first = format!(r#"{{"id":"a","response_key":"{key}","data":"{text}"}}"#);
        let last = format!(r#"{{"id":"a","data":"{text}","response_key":"{key}"}}"#);
        let middle = format!(r#"{{"id":"a","x":"{text}","response_key":"{key}","y":"{text}"}}"#);
        for (raw, is_answered) in [(&first, true), (&last, true), (&middle, false)] {
            store.push(&[raw.clone(), envelope("b")]).await;
            let reply = store.poll(&own, 5, &[]).await;
            assert_eq!((reply.leased.len(), reply.refused), (1, vec!["too_large".to_owned()]));
            let size = raw.len();
            let reason =
                format!("the request has {size} bytes, the limit is 100000 (limits.request)");
            let letter = ["a", "too_large", &*reason, "own", &raw[..65_536]].map(str::to_owned);
            assert_eq!(store.dead().await, [letter]);
            let frame =
                format!(r#"{{"id":"a","response_key":"{key}","type":"error","seq":1,"attempt":1,"#)
                    + &format!(r#""error":{{"code":"too_large","message":"{reason}"}}}}"#);
            let frames = if is_answered { vec![frame] } else { Vec::new() };
            assert_eq!(store.frames("a").await, frames);
            let keys = [store.keys.dead(), key.clone(), own.leases.clone(), store.keys.live()];
            let () = store.conn.del(&keys).await.unwrap();
        }
    }
}

#[tokio::test]
async fn oversize_element_with_a_live_id_answers_no_caller() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let (own, other) = (store.worker("own").with_max_request(100_000), store.worker("other"));
        store.push_ids(&["a"]).await;
        assert_eq!(store.lease(&other, 1).await, ["a"]);
        let (key, text) = (store.keys.response("a"), "x".repeat(200_000));
        store.push(&[format!(r#"{{"id":"a","response_key":"{key}","data":"{text}"}}"#)]).await;
        assert_eq!(store.poll(&own, 5, &[]).await.refused, ["too_large"]);
        assert_eq!(store.frames("a").await, [""; 0]);
        assert_eq!(store.live().await, ["a"]);
    }
}

#[tokio::test]
async fn large_elements_are_leased_few_at_a_time() {
    for (more, before) in [(false, 0), (true, 0), (false, 300), (true, 300), (false, 6000)] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let small = |n| format!(r#"{{"id":"s{n}","data":1}}"#);
        let mut elements: Vec<String> = (0..before).map(small).collect();
        elements.extend((0..30).map(|_| brackets(19 * MIB as usize / 10)));
        elements.extend((before..before + 500).map(small));
        store.push(&elements).await;
        let (mut leased, mut refused) = (0, 0);
        while leased < before + 500 {
            let reply = store.poll(&own, 250, &[]).await;
            assert!(reply.read <= 8 << 20, "{} bytes in one poll", reply.read);
            assert!(!reply.leased.is_empty() || !reply.refused.is_empty());
            leased += reply.leased.len();
            refused += reply.refused.len();
        }
        assert_eq!((refused, store.queued().await.len()), (30, 0), "{before} before them");
    }
}

#[tokio::test]
async fn deep_queue_is_read_whatever_its_user_may_not_run() {
    for right in ["memory|usage", "ltrim", "lpush"] {
        let mut store = Store::new().await;
        let own = store.worker("own");
        let ids: Vec<String> = (0..5000).map(|n| format!("x{n}")).collect();
        store.push_ids(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let acl = |sign: &str| {
            let rule = format!("{sign}{right}");
            redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule).to_owned()
        };
        let () = acl("-").query_async(&mut store.conn).await.unwrap();
        let reply = store.poll(&own, 10, &[]).await;
        let () = acl("+").query_async(&mut store.conn).await.unwrap();
        assert!(reply.leased.iter().map(|leased| &leased.id).eq(&ids[..10]), "{right}: {reply:?}");
        let left = store.queued().await;
        assert!(left.iter().eq(&ids[10..].iter().map(|id| envelope(id)).collect::<Vec<_>>()));
    }
}

#[tokio::test]
async fn poll_meets_one_oversize_element_and_reads_it_once() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let oversize = brackets(7 * MIB as usize);
        let elements = [oversize.clone(), oversize.clone(), envelope("a"), oversize, envelope("b")];
        store.push(&elements).await;
        let mut polls = Vec::new();
        for _ in 0..5 {
            let reply = store.poll(&own, 5, &[]).await;
            polls.push((reply.refused.len(), reply.leased.len()));
        }
        assert_eq!(polls.iter().map(|poll| poll.0).max(), Some(1), "{polls:?}");
        let sum = polls.iter().fold((0, 0), |sum, poll| (sum.0 + poll.0, sum.1 + poll.1));
        assert_eq!(sum, (3, 2));
    }
}

#[tokio::test]
async fn junk_counts_against_the_bounds_of_a_poll() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push(&vec!["nonsense".to_owned(); 1000]).await;
        store.push_ids(&["a"]).await;
        let mut polls = 0;
        while store.poll(&own, 64, &[]).await.leased.is_empty() {
            polls += 1;
        }
        assert!((4..=20).contains(&polls), "{polls} polls without a request");
        // Scanned for an id: this many of 4 KiB take long.
        store.push(&vec![format!(r#"{{"a":{}"#, brackets(5000)); 100]).await;
        assert!(store.poll(&own, 64, &[]).await.refused.len() < 20);
    }
}

#[tokio::test]
async fn id_is_found_in_the_first_four_kibibytes_only() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let with_late_id = |id: &str, bytes: usize| {
            format!(r#"{{"data":"{}","id":"{id}","name":"add"}}"#, "x".repeat(bytes))
        };
        // A name in another object, and one in a text, are not the request's own.
        let other = r#"{"data":{"id":"x"},"text":"\"id\":\"y\"","id":"c"}"#.to_owned();
        store.push(&[with_late_id("a", 4000), with_late_id("b", 4096), other]).await;
        assert_eq!(store.lease(&own, 5).await, ["a", "c"]);
        assert_eq!(store.dead().await[0][1], "invalid_request");
    }
}

#[tokio::test]
async fn limit_counts_by_values_as_they_are_written() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.lives(&own).await;
    let values = [
        "1311768467463790320",
        "1311768467463790321",
        "1",
        "1.0",
        "\"1\"",
        "true",
        "\"true\"",
        "null",
        "\"a\"",
        r#""\u0061""#,
        "\"=1\"",
    ];
    for (n, value) in values.iter().enumerate() {
        let raw =
            format!(r#"{{"id":"x{n}","name":"add","data":{{"b":[{{}}],"k":{value},"k":9}}}}"#);
        store.push(&[raw]).await;
    }
    let limit = Limit { key: Some("k".to_owned()), concurrency: Some(1), rate: None };
    let rules = [LimitRule { name: "add".to_owned(), limit, room: None }];
    let poll = QueuePoll { rules: &rules, ..QueuePoll::take(&own, 50) };
    let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    // Each has a key of its own, but for the same text written in two ways.
    let mut leased: Vec<&str> = reply.leased.iter().map(|leased| leased.id.as_str()).collect();
    leased.sort_unstable();
    assert_eq!(leased, ["x0", "x1", "x10", "x2", "x3", "x4", "x5", "x6", "x7", "x8"]);
}

#[tokio::test]
async fn blocked_pop_sends_no_oversize_element_to_its_worker() {
    let mut store = Store::new().await;
    let own = std::sync::Arc::new(store.worker("own"));
    store.lives(&own).await;
    let mut pop = BlockingPop::new(store.connector.clone(), own);
    let sent = async |conn: &mut redis::aio::MultiplexedConnection| -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query_async(conn).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        line.unwrap().trim().parse().unwrap()
    };
    let before = sent(&mut store.conn).await;
    store.push(&[brackets(9 * MIB as usize)]).await;
    let reply = pop.next(TIMEOUT, &[], false).await.unwrap();
    assert_eq!((reply.leased.len(), reply.refused), (0, vec!["too_large".to_owned()]));
    let after = sent(&mut store.conn).await;
    assert!(after - before < 1 << 20, "{} bytes", after - before);
    // The connection is in step with its replies.
    store.push_ids(&["a"]).await;
    assert_eq!(pop.next(TIMEOUT, &[], false).await.unwrap().leased[0].id, "a");
}
