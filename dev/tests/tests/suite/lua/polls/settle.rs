//! `poll.lua` and `poll_fast.lua`, first half: every kind of outcome, with the lease and without.

use redcall_client::Code;
use redcall_store::{Released, Session as _, Settled, Settlement, UpkeepOps as _};
use redis::AsyncCommands;

use crate::lua::{LONG, Store, TIMEOUT, envelope, outcome};

#[tokio::test]
async fn refused_answer_reaches_neither_key_nor_channel() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let (slow, fast) = (store.worker("slow"), store.worker("fast"));
        store.push_ids(&["a", "b"]).await;
        assert_eq!(store.lease(&slow, 2).await, ["a", "b"]);
        // Given up for dead; the other one takes one of its two requests, it gets the other again.
        let released = store.link.release(&store.keys, "slow", true, TIMEOUT).await.unwrap();
        assert_eq!(released, Released::Back(2));
        let taken = store.lease(&fast, 1).await.remove(0);
        let held = store.lease(&slow, 1).await.remove(0);

        let outcomes =
            [store.answer(&taken, r#"{"late":1}"#), store.answer(&held, r#"{"held":1}"#)];
        let reply = store.poll(&slow, 0, &outcomes).await;
        assert_eq!(reply.settled, [Settled::LeaseLost, Settled::Yes]);
        assert_eq!(store.frames(&held).await, [r#"{"held":1}"#]);
        assert_eq!(store.frames(&taken).await, [""; 0]);
        assert_eq!(store.received().await, [r#"[{"held":1}]"#]);
        assert_eq!(store.live().await, std::slice::from_ref(&taken));

        // The worker that holds it now settles it, once.
        let outcomes =
            [store.answer(&taken, r#"{"new":1}"#), store.answer(&taken, r#"{"again":1}"#)];
        let reply = store.poll(&fast, 0, &outcomes).await;
        assert_eq!(reply.settled, [Settled::Yes, Settled::LeaseLost]);
        assert_eq!(store.frames(&taken).await, [r#"{"new":1}"#]);
        assert_eq!(store.received().await, [r#"[{"new":1}]"#]);
        let mut left = [store.keys.response("a"), store.keys.response("b"), store.keys.workers()];
        left.sort_unstable();
        assert_eq!(store.all_keys().await, left);
    }
}

#[tokio::test]
async fn without_the_lease_no_outcome_changes_anything() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let (own, holder) = (store.worker("own"), store.worker("holder"));
        store.beat("holder", LONG, &["mapped"]).await;
        store.push_ids(&["x"]).await;
        assert_eq!(store.lease(&holder, 1).await, ["x"]);
        let before = store.all_keys().await;
        let answer = || Some((store.reply("x"), "{}".to_owned()));
        let code = Code::InvalidRequest;
        let unknown = |name: &str, answer| Settlement::Unknown { name: name.to_owned(), answer };
        let outcomes = [
            store.answer("x", "{}"),
            outcome("x", Settlement::Done),
            outcome("x", Settlement::DeadLetter { code, reason: "r".to_owned(), answer: None }),
            outcome("x", Settlement::DeadLetter { code, reason: "r".to_owned(), answer: answer() }),
            outcome("x", Settlement::Back),
            outcome("x", unknown("mapped", None)),
            outcome("x", unknown("absent", None)),
            outcome("x", unknown("absent", answer())),
        ];
        let reply = store.poll(&own, 0, &outcomes).await;
        assert_eq!(reply.settled, [Settled::LeaseLost; 8]);
        assert_eq!((reply.length, reply.parked), (Some(0), 0));
        assert_eq!(store.all_keys().await, before);
        assert_eq!(store.received().await, [""; 0]);
        assert_eq!(store.live().await, ["x"]);
    }
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_done_leaves_nothing() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push_ids(&["a", "b"]).await;
        assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
        let outcomes = [store.answer("a", "{}"), outcome("b", Settlement::Done)];
        assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::Yes; 2]);
        let key = store.keys.response("a");
        let ttl: i64 = store.conn.pttl(&key).await.unwrap();
        assert!((50_000..=60_000).contains(&ttl), "{ttl}");
        assert_eq!(store.all_keys().await, [key, store.keys.workers()]);
    }
}

#[tokio::test]
async fn dead_lettered_request_may_be_answered_as_well() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push_ids(&["a", "b"]).await;
        assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
        let dead_letter = |answer| Settlement::DeadLetter {
            code: Code::TooLarge,
            reason: "why".to_owned(),
            answer,
        };
        let answer = Some((store.reply("b"), r#"{"no":1}"#.to_owned()));
        let outcomes = [outcome("a", dead_letter(None)), outcome("b", dead_letter(answer))];
        assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::Yes; 2]);
        let letter = |id| [id, "too_large", "why", "own", &envelope(id)].map(str::to_owned);
        assert_eq!(store.dead().await, [letter("a"), letter("b")]);
        assert_eq!(store.frames("a").await, [""; 0]);
        assert_eq!(store.frames("b").await, [r#"{"no":1}"#]);
        assert_eq!(store.received().await, [r#"[{"no":1}]"#]);
        assert_eq!(store.live().await, [""; 0]);
        let ttl: i64 = store.conn.pttl(store.keys.dead()).await.unwrap();
        assert!((3_000_000..=3_600_000).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn dead_letters_are_bounded_in_number_and_size() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own").with_max_request(8 << 20);
        let huge = format!(r#"{{"id":"huge","data":"{}"}}"#, "x".repeat(5 << 20));
        store.push(std::slice::from_ref(&huge)).await;
        assert_eq!(store.lease(&own, 1).await, ["huge"]);
        let dead_letter = |id: &str| {
            let (code, reason) = (Code::TooLarge, "why".to_owned());
            outcome(id, Settlement::DeadLetter { code, reason, answer: None })
        };
        store.poll(&own, 0, &[dead_letter("huge")]).await;
        assert_eq!(store.dead().await[0][4], huge[..65_536]);
        let ids: Vec<String> = (0..1000).map(|n| format!("x{n}")).collect();
        store.push_ids(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(store.lease(&own, 1000).await, ids);
        let outcomes: Vec<_> = ids.iter().map(|id| dead_letter(id)).collect();
        assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::Yes; 1000]);
        // Redis trims whole batches of a hundred.
        let dead = store.dead().await;
        assert!((100..=200).contains(&dead.len()), "{}", dead.len());
        assert_eq!(dead.last().unwrap()[0], "x999");
        assert_eq!(store.live().await, [""; 0]);
    }
}

#[tokio::test]
async fn dead_letters_go_with_their_age() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        // As old as Redis accepts, in as many batches as it trims by.
        let mut pipe = redis::pipe();
        for n in 1..=300 {
            let add = pipe.cmd("XADD").arg(store.keys.dead()).arg(format!("{n}-1"));
            add.arg(&["id", "old", "code", "", "reason", "", "worker", "", "request", ""]).ignore();
        }
        let () = pipe.query_async(&mut store.conn).await.unwrap();
        store.push(&["nonsense".to_owned()]).await;
        assert_eq!(store.lease(&own, 1).await, [""; 0]);
        let dead = store.dead().await;
        assert!(dead.len() <= 100, "{}", dead.len());
        assert_eq!(dead.last().unwrap()[1], "invalid_request");
    }
}

#[tokio::test]
async fn returned_requests_keep_their_order_at_the_head() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push_ids(&["a", "b", "c", "d", "e"]).await;
        let before = store.queued().await;
        assert_eq!(store.lease(&own, 4).await, ["a", "b", "c", "d"]);
        // The last one first, as a worker does it.
        let outcomes = ["d", "c", "b"].map(|id| outcome(id, Settlement::Back));
        let reply = store.poll(&own, 0, &outcomes).await;
        assert_eq!((reply.settled, reply.length), (vec![Settled::Yes; 3], Some(4)));
        assert_eq!(store.queued().await, before[1..]);
        assert_eq!(store.live().await, ["a"]);
        // Given back and taken in the same poll.
        let reply = store.poll(&own, 2, &[outcome("a", Settlement::Back)]).await;
        let ids: Vec<&str> = reply.leased.iter().map(|leased| leased.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
    }
}

#[tokio::test]
async fn unknown_name_is_parked_answered_or_dead_lettered() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.beat("other", LONG, &["special"]).await;
        store.push_ids(&["a", "b", "c"]).await;
        assert_eq!(store.lease(&own, 3).await, ["a", "b", "c"]);
        let unknown = |name: &str, answer| Settlement::Unknown { name: name.to_owned(), answer };
        let answer = |id: &str| Some((store.reply(id), r#"{"no":1}"#.to_owned()));
        let outcomes = [
            outcome("a", unknown("special", answer("a"))),
            outcome("b", unknown("absent", answer("b"))),
            outcome("c", unknown("absent", None)),
        ];
        let reply = store.poll(&own, 0, &outcomes).await;
        assert_eq!(reply.settled, [Settled::Parked, Settled::Yes, Settled::Yes]);
        assert_eq!((reply.length, reply.parked), (Some(0), 1));
        assert_eq!(store.frames("a").await, [""; 0]);
        assert_eq!(store.frames("b").await, [r#"{"no":1}"#]);
        assert_eq!(store.received().await, [r#"[{"no":1}]"#]);
        let reason = "no live worker handles `absent`";
        let letter = ["c", "unknown_job", reason, "own", &envelope("c")].map(str::to_owned);
        assert_eq!(store.dead().await, [letter]);
        let parked: Vec<String> =
            store.conn.lrange(store.keys.parked("special"), 0, -1).await.unwrap();
        assert_eq!(parked, [envelope("a")]);
        assert_eq!(store.live().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_name_whose_workers_lease_has_ended_is_unknown() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        // Long past, and not pruned by a heartbeat since.
        let () = store.conn.zadd(store.keys.names(), "special", 1000).await.unwrap();
        store.push_ids(&["a"]).await;
        assert_eq!(store.lease(&own, 1).await, ["a"]);
        let unknown = Settlement::Unknown { name: "special".to_owned(), answer: None };
        let reply = store.poll(&own, 0, &[outcome("a", unknown)]).await;
        assert_eq!((reply.settled, reply.parked), (vec![Settled::Yes], 0));
        assert_eq!(store.dead().await[0][1], "unknown_job");
    }
}

#[tokio::test]
async fn a_large_answer_is_announced_by_its_id_alone() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push_ids(&["a", "b"]).await;
        assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
        let fits = format!("\"{}\"", "x".repeat(8190));
        let large = format!("\"{}\"", "x".repeat(8191));
        let outcomes = [store.answer("a", &large), store.answer("b", &fits)];
        store.poll(&own, 0, &outcomes).await;
        assert_eq!(store.frames("a").await, [large]);
        assert_eq!(store.received().await, [format!(r#"["a",{fits}]"#)]);
    }
}

#[tokio::test]
async fn notification_carries_256_kib_of_answers_and_further_ids() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let ids: Vec<String> = (0..100).map(|n| format!("x{n}")).collect();
        store.push_ids(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(store.lease(&own, 100).await, ids);
        let frame = format!("[\"{}\"]", "x".repeat(8000));
        let outcomes: Vec<_> = ids.iter().map(|id| store.answer(id, &frame)).collect();
        assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::Yes; 100]);
        let received = store.received().await;
        let [message] = received.as_slice() else { panic!("{} messages", received.len()) };
        let entries: Vec<serde_json::Value> = serde_json::from_str(message).unwrap();
        let whole = (256 << 10) / frame.len();
        assert!(entries[..whole].iter().all(serde_json::Value::is_array));
        assert!(entries[whole..].iter().eq(&ids[whole..]));
        for id in &ids {
            assert_eq!(store.frames(id).await, [frame.as_str()]);
        }
    }
}

#[tokio::test]
async fn each_named_channel_gets_one_message_per_poll() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.link.subscribe("redcall:{q}:notify:other", TIMEOUT).await.unwrap();
        store.push_ids(&["a", "b", "c", "d"]).await;
        assert_eq!(store.lease(&own, 4).await, ["a", "b", "c", "d"]);
        let to = |store: &Store, id: &str, channel: Option<&str>| {
            let mut reply = store.reply(id);
            reply.notify = channel.map(str::to_owned);
            outcome(id, Settlement::Answer { reply, frame: format!("\"{id}\"") })
        };
        let outcomes = [
            store.answer("a", "\"a\""),
            to(&store, "b", Some("redcall:{q}:notify:other")),
            to(&store, "c", None),
            store.answer("d", "\"d\""),
        ];
        store.poll(&own, 0, &outcomes).await;
        let mut received = store.received().await;
        received.sort_unstable();
        assert_eq!(received, [r#"["a","d"]"#, r#"["b"]"#]);
        assert_eq!(store.frames("c").await, [r#""c""#]);
    }
}

#[tokio::test]
async fn refused_twin_is_dead_lettered_without_touching_the_other() {
    let refuse = |store: &Store, id: &str, dead_letter| {
        let (code, reason) = (Code::Unauthorized, "why".to_owned());
        let answer = Some((store.reply(id), r#"{"refused":1}"#.to_owned()));
        outcome(id, Settlement::Refuse { code, reason, answer, dead_letter })
    };
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["refused", "dead", "delayed", "answered", "begun"]).await;
    assert_eq!(store.lease(&own, 5).await.len(), 5);
    let record = r#"{"attempt":1,"fails":1,"crashes":0}"#;
    let () = store.conn.hset(store.keys.scheduled(), "delayed", envelope("delayed")).await.unwrap();
    let () = store.conn.hset(store.keys.attempts(), "delayed", record).await.unwrap();
    let frame = |id: &str, kind: &str| {
        format!(r#"{{"id":"{id}","response_key":"{}","type":"{kind}"}}"#, store.keys.response(id))
    };
    let (end, progress) = (frame("answered", "result"), frame("begun", "pending"));
    let () = store.conn.rpush(store.keys.response("answered"), &end).await.unwrap();
    let () = store.conn.rpush(store.keys.response("begun"), &progress).await.unwrap();
    let outcomes = [
        refuse(&store, "refused", false),
        refuse(&store, "dead", true),
        refuse(&store, "delayed", true),
        refuse(&store, "answered", false),
        refuse(&store, "begun", false),
    ];
    assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::Yes; 5]);
    let refused = r#"{"refused":1}"#;
    for (id, expected) in [
        ("refused", vec![refused]),
        ("dead", vec![refused]),
        ("delayed", vec![]),
        ("answered", vec![&*end]),
        ("begun", vec![&*progress, refused]),
    ] {
        assert_eq!(store.frames(id).await, expected, "{id}");
    }
    let kept: String = store.conn.hget(store.keys.attempts(), "delayed").await.unwrap();
    assert_eq!((kept.as_str(), store.live().await), (record, vec![]));
    let dead = redis::cmd("XLEN").arg(store.keys.dead()).to_owned();
    let dead: usize = dead.query_async(&mut store.conn).await.unwrap();
    assert_eq!(dead, 3, "dead-lettered, delayed, answered");
}
