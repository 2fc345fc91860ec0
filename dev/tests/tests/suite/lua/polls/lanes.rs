//! `lane_settle.lua`, `lane_poll.lua`, `adopt.lua`: requests whose place in a lane inbox is their
//! lease; the same in `release.lua`, `heartbeat.lua` and `cancel.lua`.

use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_store::inspect::Inspector;
use redcall_store::{
    Adopted, Adoption, CancelRequest, Cancellation, Gate, LaneKeys, LaneOps as _, LanePoll,
    LanePop, LanePopped, LaneReply, LaneWrite, Moved, Outcome, PauseOps as _, Released,
    SendOps as _, Session as _, Settled, Settlement, UpkeepOps as _,
};
use redis::AsyncCommands;

use crate::lua::upkeep::registry::beat;
use crate::lua::{LONG, Store, TIMEOUT, envelope, outcome};

impl Store {
    /// An inbox of the worker `own`, which lives.
    async fn lane(&self, number: u8) -> LaneKeys {
        let own = self.worker("own");
        self.lives(&own).await;
        let () = self.conn.clone().set(self.keys.worker("own"), "info").await.unwrap();
        self.link.open_lane(&own, LONG, TIMEOUT).await.unwrap();
        LaneKeys::new(own, number)
    }

    async fn lane_poll(&self, keys: &LaneKeys, outcomes: &[Outcome], take: usize) -> LaneReply {
        let poll = LanePoll { keys, outcomes, serial: 3, take };
        self.link.lane_poll(&poll, TIMEOUT).await.unwrap()
    }

    async fn adopt(
        &self,
        keys: &LaneKeys,
        outcomes: &[Outcome],
        started: &[&str],
        again: bool,
    ) -> Adopted {
        let started: Vec<String> = started.iter().map(ToString::to_string).collect();
        let adoption =
            Adoption { keys, outcomes, started: &started, serial: 3, again, large: false };
        self.link.adopt(&adoption, TIMEOUT).await.unwrap()
    }

    /// Fills an inbox.
    async fn pop(&mut self, keys: &LaneKeys, ids: &[&str]) {
        let elements: Vec<String> = ids.iter().map(|id| envelope(id)).collect();
        let () = self.conn.rpush(&keys.inbox, elements).await.unwrap();
    }

    fn inspector(&self) -> Inspector {
        Inspector::new(&self.connector, Keys::new("redcall"))
    }

    async fn young(&mut self, keys: &LaneKeys) -> Vec<String> {
        self.conn.lrange(&keys.inbox, 0, -1).await.unwrap()
    }
}

fn done(id: &str) -> Outcome {
    outcome(id, Settlement::Done)
}

#[tokio::test]
async fn lane_settle_answers_and_empties_its_inbox() {
    let mut store = Store::new().await;
    let lane = store.lane(1).await;
    store.pop(&lane, &["x1"]).await;
    let reply = store.lane_poll(&lane, &[store.answer("x1", "[1]")], 0).await;
    assert_eq!((reply.settled, reply.gate), (vec![Settled::Yes], None));
    assert_eq!(store.frames("x1").await, ["[1]"]);
    assert_eq!(store.received().await, ["[[1]]"]);
    assert!(store.young(&lane).await.is_empty());
    let record: String = store.conn.get(&lane.record).await.unwrap();
    assert_eq!(record, "1 3 1");
    for key in [store.keys.response("x1"), lane.record.clone(), store.keys.lanes()] {
        let ttl: i64 = store.conn.pttl(&key).await.unwrap();
        assert!(ttl > 0, "{key}");
    }
    store.pop(&lane, &["x2"]).await;
    assert_eq!(store.lane_poll(&lane, &[done("x2")], 0).await.settled, [Settled::Yes]);
    assert!(store.young(&lane).await.is_empty());
}

#[tokio::test]
async fn a_large_answer_of_a_lane_is_announced_by_its_id_alone() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    for take in [0, 1] {
        store.pop(&lane, &["x1"]).await;
        let large = format!("[\"{}\"]", "a".repeat(9000));
        store.lane_poll(&lane, &[store.answer("x1", &large)], take).await;
        assert_eq!(store.received().await, [r#"["x1"]"#]);
    }
}

#[tokio::test]
async fn lane_settles_nothing_without_exactly_its_requests() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    for (many, take) in [(1, 0), (1, 5), (2, 5)] {
        let outcomes = |store: &Store| {
            let ids = ["x1", "x2"].into_iter().take(many);
            ids.map(|id| store.answer(id, "[1]")).collect::<Vec<_>>()
        };
        let lost = store.lane_poll(&lane, &outcomes(&store), 0).await;
        assert_eq!(lost.settled, vec![Settled::LeaseLost; many]);
        store.pop(&lane, &["x1", "x2", "x3"]).await;
        let failed = store.lane_poll(&lane, &outcomes(&store), take).await;
        assert_eq!((failed.settled, failed.gate), (vec![Settled::Failed; many], None));
        assert_eq!(store.young(&lane).await.len(), 3);
        assert!(store.frames("x1").await.is_empty() && store.received().await.is_empty());
        let () = store.conn.del(&lane.inbox).await.unwrap();
    }
}

#[tokio::test]
async fn lane_poll_settles_all_and_takes_others() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    store.push_ids(&["x1", "x2", "x3", "x4"]).await;
    let first = store.lane_poll(&lane, &[], 2).await;
    assert_eq!((first.length, first.gate), (Some(2), Some(Gate::Open)));
    assert_eq!(first.taken, [envelope("x1").into_bytes(), envelope("x2").into_bytes()]);
    let outcomes = [store.answer("x1", "[1]"), done("x2")];
    let next = store.lane_poll(&lane, &outcomes, 5).await;
    assert_eq!((next.settled, next.length), (vec![Settled::Yes; 2], Some(0)));
    assert_eq!(store.young(&lane).await, [envelope("x3"), envelope("x4")]);
    assert_eq!(store.frames("x1").await, ["[1]"]);
    assert!(store.live().await.is_empty());
    // An inbox with requests is not filled.
    let full = store.lane_poll(&lane, &[], 5).await;
    assert_eq!((full.gate, full.taken.len()), (None, 0));
}

#[tokio::test]
async fn lane_takes_nothing_behind_a_closed_gate() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    store.push_ids(&["x2"]).await;
    let keys = store.keys.clone();
    let closed = [
        keys.paused(),
        keys.attempts(),
        keys.cancelled(),
        keys.permits(),
        keys.limited_names(),
        keys.parked_names(),
    ];
    for key in closed {
        store.pop(&lane, &["x1"]).await;
        let () = store.conn.set(&key, "1").await.unwrap();
        let reply = store.lane_poll(&lane, &[done("x1")], 5).await;
        assert_eq!((reply.settled, reply.gate), (vec![Settled::Yes], Some(Gate::Closed)), "{key}");
        let () = store.conn.del(&key).await.unwrap();
    }
    for ends in [Some(1), None] {
        let () = match ends {
            Some(ends) => store.conn.zadd(keys.workers(), "own", ends).await.unwrap(),
            None => store.conn.del(keys.workers()).await.unwrap(),
        };
        let reply = store.lane_poll(&lane, &[], 5).await;
        assert_eq!((reply.gate, reply.length), (Some(Gate::Expired), None));
    }
    assert_eq!(store.queued().await, [envelope("x2")]);
}

#[tokio::test]
async fn oversize_element_is_dead_lettered_by_a_lane() {
    let mut store = Store::new().await;
    let own = store.worker("own").with_max_request(100);
    store.lane(0).await;
    let lane = LaneKeys::new(own, 0);
    let large = format!(r#"{{"id":"x1","name":"add","data":"{}"}}"#, "a".repeat(200));
    store.push(&[large.clone(), large, envelope("x2")]).await;
    let reply = store.lane_poll(&lane, &[], 1).await;
    assert_eq!(reply.taken, [envelope("x2").into_bytes()]);
    assert_eq!(reply.refused, ["too_large", "too_large"]);
    assert_eq!(store.dead().await.len(), 2);
    let large = format!(r#"{{"id":"x3","name":"add","data":"{}"}}"#, "a".repeat(200));
    let () = store.conn.rpush(&lane.inbox, large).await.unwrap();
    let adopted = store.adopt(&lane, &[], &["x2"], false).await;
    assert_eq!((adopted.leased.len(), adopted.back), (1, 0));
    assert_eq!(adopted.refused, ["too_large"]);
}

#[tokio::test]
async fn adoption_settles_leases_and_returns() {
    let mut store = Store::new().await;
    let lane = store.lane(1).await;
    store.push_ids(&["q1"]).await;
    store.pop(&lane, &["x1", "x2", "x3", "x4"]).await;
    let () = store.conn.zadd(store.keys.cancelled(), "x3", 9_000_000_000_000_u64).await.unwrap();
    let outcomes = [store.answer("x2", "[2]"), done("gone")];
    let adopted = store.adopt(&lane, &outcomes, &["x3", "x1"], false).await;
    assert_eq!(adopted.settled, [Settled::Yes, Settled::LeaseLost]);
    let leased: Vec<_> =
        adopted.leased.iter().map(|one| (one.id.as_str(), one.mark.cancelled)).collect();
    assert_eq!(leased, [("x1", false), ("x3", true)]);
    assert_eq!(adopted.back, 1);
    assert_eq!(store.queued().await, [envelope("x4"), envelope("q1")]);
    assert_eq!(store.frames("x2").await, ["[2]"]);
    assert_eq!(store.received().await, ["[[2]]"]);
    assert_eq!(store.live().await, ["x1", "x3"]);
    assert!(store.young(&lane).await.is_empty());
}

#[tokio::test]
async fn adoption_after_a_lost_reply_returns_the_first_results() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    store.pop(&lane, &["x1"]).await;
    assert_eq!(store.lane_poll(&lane, &[store.answer("x1", "[1]")], 0).await.settled.len(), 1);
    // The pop after the settlement was served, and the connection is lost.
    store.pop(&lane, &["x2"]).await;
    for again in 0..2 {
        let adopted = store.adopt(&lane, &[store.answer("x1", "[1]")], &[], true).await;
        assert_eq!((adopted.settled, adopted.back), (vec![Settled::Yes], 1 - again));
    }
    assert_eq!(store.queued().await, [envelope("x2")]);
    assert_eq!(store.frames("x1").await, ["[1]"]);
    // The record of another settlement does not count.
    let () = store.conn.set(&lane.record, "0 2 1").await.unwrap();
    let adopted = store.adopt(&lane, &[store.answer("x1", "[1]")], &[], true).await;
    assert_eq!(adopted.settled, [Settled::LeaseLost]);
}

#[tokio::test]
async fn adoption_dead_letters_a_request_whose_id_is_live() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    store.push_ids(&["x1"]).await;
    assert_eq!(store.lease(&store.worker("other"), 1).await, ["x1"]);
    store.pop(&lane, &["x1"]).await;
    let adopted = store.adopt(&lane, &[], &["x1"], false).await;
    assert!(adopted.leased.is_empty());
    assert_eq!(adopted.refused, ["invalid_request"]);
    assert_eq!(store.dead().await.len(), 1);
}

#[tokio::test]
async fn adoption_registers_an_unknown_worker_as_expired() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    let () = store.conn.del(store.keys.workers()).await.unwrap();
    store.pop(&lane, &["x1"]).await;
    assert_eq!(store.adopt(&lane, &[], &["x1"], false).await.leased.len(), 1);
    assert_eq!(beat(&store, "other", LONG, &[]).await.dead, ["own"]);
}

#[tokio::test]
async fn adoption_moves_a_full_inbox_in_parts() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    let ids: Vec<String> = (0..600).map(|number| format!("x{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    store.pop(&lane, &ids).await;
    let adopted = store.adopt(&lane, &[done("x0")], &["x1", "x599"], false).await;
    assert_eq!((adopted.leased.len(), adopted.back), (2, 597));
    assert!(store.young(&lane).await.is_empty());
}

#[tokio::test]
async fn take_over_returns_lane_inboxes_and_counts_a_crash_each() {
    let mut store = Store::new().await;
    let inboxes = [store.lane(0).await, store.lane(1).await];
    store.pop(&inboxes[0], &["x1", "x2"]).await;
    store.pop(&inboxes[1], &["x3"]).await;
    let () = store.conn.zadd(store.keys.workers(), "own", 1).await.unwrap();
    let released = store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(3));
    let queued = store.queued().await;
    assert_eq!(queued, ["x3", "x1", "x2"].map(envelope));
    let records: Vec<String> = store.conn.hvals(store.keys.attempts()).await.unwrap();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.contains(r#""crashes":1"#)), "{records:?}");
    // Redis may still serve its last pop.
    let lanes: Vec<String> = store.conn.zrange(store.keys.lanes(), 0, -1).await.unwrap();
    assert_eq!(lanes, ["own"]);
    assert_eq!(store.lane_poll(&inboxes[0], &[done("x1")], 0).await.settled, [Settled::LeaseLost]);
}

/// The script moves a request before it counts its crash.
#[tokio::test]
async fn take_over_that_can_count_no_crash_leaves_lane_inboxes() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    store.pop(&lane, &["x1", "x2"]).await;
    let () = store.conn.zadd(store.keys.workers(), "own", 1).await.unwrap();
    let () = store.conn.set(store.keys.attempts(), "text").await.unwrap();
    store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap_err();
    assert_eq!(store.queued().await, [""; 0]);
    assert_eq!(store.young(&lane).await, ["x1", "x2"].map(envelope));
    let () = store.conn.del(store.keys.attempts()).await.unwrap();
    let released = store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(2));
    assert_eq!(store.queued().await, ["x1", "x2"].map(envelope));
}

#[tokio::test]
async fn worker_that_leaves_returns_its_lane_inboxes_without_a_crash() {
    let mut store = Store::new().await;
    let lane = store.lane(1).await;
    store.pop(&lane, &["x1"]).await;
    let released = store.link.release(&store.keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(1));
    assert_eq!(store.queued().await, [envelope("x1")]);
    for key in [store.keys.attempts(), store.keys.lanes()] {
        assert!(!store.conn.exists::<_, bool>(&key).await.unwrap(), "{key}");
    }
}

#[tokio::test]
async fn heartbeats_find_late_pops_of_workers_without_registration() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    // As a worker of an earlier version takes over.
    let () = store.conn.zrem(store.keys.workers(), "own").await.unwrap();
    assert_eq!(beat(&store, "other", LONG, &[]).await.dead, [""; 0]);
    store.pop(&lane, &["x1"]).await;
    assert_eq!(store.inspector().stuck("q", Duration::ZERO).await.unwrap().len(), 1);
    assert_eq!(beat(&store, "other", LONG, &[]).await.dead, ["own"]);
    let released = store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(1));
    // A minute after its lease would have ended no pop is left.
    let () = store.conn.zadd(store.keys.lanes(), "own", 1).await.unwrap();
    beat(&store, "other", LONG, &[]).await;
    assert!(!store.conn.exists::<_, bool>(store.keys.lanes()).await.unwrap());
}

#[tokio::test]
async fn heartbeat_keeps_its_own_lane_and_no_other() {
    let mut store = Store::new().await;
    store.lane(0).await;
    let () = store.conn.zadd(store.keys.lanes(), "own", 1).await.unwrap();
    beat(&store, "other", LONG, &[]).await;
    beat(&store, "own", LONG, &[]).await;
    let lanes: Vec<(String, f64)> =
        store.conn.zrange_withscores(store.keys.lanes(), 0, -1).await.unwrap();
    let until = store.now_ms().await as f64 + 660_000.0;
    assert!(matches!(&lanes[..], [(own, at)] if own == "own" && (at - until).abs() < 10_000.0));
}

#[tokio::test]
async fn cancelled_request_in_a_lane_inbox_is_reported() {
    let mut store = Store::new().await;
    let lane = store.lane(1).await;
    store.pop(&lane, &["x1", "x2"]).await;
    store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
    let withdrawn = CancelRequest { id: "x2".to_owned(), ttl_ms: 60_000, record: None };
    let (found, _) = store.link.cancel(&store.keys, &[withdrawn], TIMEOUT).await.unwrap();
    assert_eq!(found, [Cancellation::Unseen]);
    assert_eq!(store.received().await, ["cancel x2"]);
    assert_eq!(beat(&store, "own", LONG, &[]).await.cancelled, ["x2"]);
}

#[tokio::test]
async fn requests_in_lane_inboxes_count_as_running() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    store.pop(&lane, &["x1", "x2"]).await;
    let inspector = store.inspector();
    assert_eq!(inspector.queue("q").await.unwrap().running, 2);
    assert!(inspector.stuck("q", Duration::ZERO).await.unwrap().is_empty());
    let () = store.conn.zadd(store.keys.workers(), "own", 1).await.unwrap();
    let stuck = inspector.stuck("q", Duration::from_secs(60)).await.unwrap();
    assert!(matches!(&stuck[..], [one] if one.held == 2), "{stuck:?}");
}

/// Settles, if the poll has outcomes, pops, and reads both replies.
async fn next(
    pop: &mut LanePop,
    poll: &LanePoll<'_>,
    block: Duration,
) -> (Vec<Settled>, LanePopped) {
    pop.write(&LaneWrite { settlement: poll, pop: Some(block) }).await.unwrap();
    let settled = match poll.outcomes {
        [] => Vec::new(),
        _ => pop.settled(poll).await.unwrap(),
    };
    (settled, pop.popped(poll.keys, block).await.unwrap())
}

#[tokio::test]
async fn idle_lane_settles_pops_and_reads_the_gate_in_one_write() {
    let mut store = Store::new().await;
    let lane = store.lane(0).await;
    let mut pop = LanePop::new(store.connector.clone());
    store.pop(&lane, &["x1"]).await;
    let outcomes = [store.answer("x1", "[1]")];
    let settlement = LanePoll { keys: &lane, outcomes: &outcomes, serial: 3, take: 0 };
    pop.write(&LaneWrite { settlement: &settlement, pop: Some(LONG) }).await.unwrap();
    assert_eq!(pop.settled(&settlement).await.unwrap(), [Settled::Yes]);
    assert_eq!(store.frames("x1").await, ["[1]"]);
    store.push_ids(&["x2", "x3"]).await;
    let popped = pop.popped(&lane, LONG).await.unwrap();
    assert!(popped.waits);
    assert_eq!(popped.moved, Some(Moved::Request(envelope("x2").into_bytes())));
    assert_eq!(popped.gate(true), Gate::Open);
    assert_eq!(popped.gate(false), Gate::Expired);
    // The first settlement was made: another one is refused, and its pop joins its request.
    store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap();
    store.pop(&lane, &["y"]).await;
    let (settled, popped) = next(&mut pop, &settlement, LONG).await;
    assert_eq!(settled, [Settled::Failed]);
    assert_eq!(popped.gate(true), Gate::Closed);
    let () = store.conn.del(store.keys.worker("own")).await.unwrap();
    let none = LanePoll { outcomes: &[], ..settlement };
    let (_, popped) = next(&mut pop, &none, Duration::from_millis(10)).await;
    assert_eq!((popped.moved.clone(), popped.gate(true)), (None, Gate::Expired));
    assert_eq!(pop.poll(&none).await.unwrap().gate, None);
    let adoption = Adoption {
        keys: &lane,
        outcomes: &[],
        started: &[],
        serial: 4,
        again: false,
        large: false,
    };
    assert_eq!(pop.adopt(&adoption).await.unwrap().back, 3);
}

#[tokio::test]
async fn popped_request_over_the_limit_is_skipped_as_it_arrives() {
    let mut store = Store::new().await;
    let keys = store.worker("own").with_max_request(1000);
    let lane = LaneKeys::new(keys, 0);
    let mut pop = LanePop::new(store.connector.clone());
    let () = store.conn.rpush(store.keys.queue(), "x".repeat(3 << 20)).await.unwrap();
    store.push_ids(&["x1"]).await;
    let none = LanePoll { keys: &lane, outcomes: &[], serial: 1, take: 0 };
    let (_, popped) = next(&mut pop, &none, LONG).await;
    assert_eq!((popped.moved, popped.waits), (Some(Moved::TooLarge), true));
    // The replies behind it are read as before.
    let (_, popped) = next(&mut pop, &none, LONG).await;
    assert_eq!(popped.moved, Some(Moved::Request(envelope("x1").into_bytes())));
}
