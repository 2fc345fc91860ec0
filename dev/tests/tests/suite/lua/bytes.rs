//! `bytes.lua`, `cut.lua`, `kept.lua`, `tally.lua`: bounds in bytes, not only in entries.

use std::time::Duration;

use redcall_client::Code;
use redcall_common::digest;
use redcall_common::event::{Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_store::{
    EndedCall, EnqueueExt, EnqueueExtResult, Enqueued, EventOps as _, KeptAnswers, Outcome,
    RunOps as _, SendOps as _, Settled, Settlement, SharedOps as _, TopicRetention, UpkeepOps as _,
    Waited, WorkerKeys,
};
use redcall_testkit::eventually;
use redis::AsyncCommands;

use super::enqueue_ext::{extended, keyed};
use super::{LONG, MIB, Store, TIMEOUT, envelope, item, outcome};

const AGE: Duration = Duration::from_secs(3600);

impl Store {
    /// A worker with this bound for the bytes of dead letters.
    fn dead_lettering(&self, limit: u64) -> WorkerKeys {
        let keys = WorkerKeys::new(self.keys.clone(), "own", 10_000, AGE);
        keys.with_max_request(16 << 20).with_dead_bytes(limit)
    }

    /// Dead-letters requests of `size` bytes, one a poll.
    async fn dead_letter_large(&mut self, own: &WorkerKeys, ids: &[String], size: usize) {
        for id in ids {
            let padding = "x".repeat(size);
            let raw = format!(r#"{{"id":"{id}","name":"add","data":"{padding}"}}"#);
            self.push(&[raw]).await;
            assert_eq!(self.lease(own, 1).await, [id.as_str()]);
            let (code, reason) = (Code::Timeout, "why".to_owned());
            let ended = outcome(id, Settlement::DeadLetter { code, reason, answer: None });
            assert_eq!(self.poll(own, 0, &[ended]).await.settled, [Settled::Yes]);
        }
    }

    /// How many bytes of memory a key has.
    async fn used(&mut self, key: &str) -> u64 {
        let usage = redis::cmd("MEMORY").arg("USAGE").arg(key).arg("SAMPLES").arg(0).to_owned();
        usage.query_async(&mut self.conn).await.unwrap()
    }

    /// Answers requests of these ids with `size` bytes each.
    async fn answer_large(&mut self, ids: &[String], size: usize) {
        let own = self.worker("own");
        for ids in ids.chunks(64) {
            let all: Vec<&str> = ids.iter().map(String::as_str).collect();
            self.push_ids(&all).await;
            assert_eq!(self.lease(&own, ids.len()).await, all);
            let frame = "x".repeat(size);
            let answers: Vec<Outcome> = ids.iter().map(|id| self.answer(id, &frame)).collect();
            self.poll(&own, 0, &answers).await;
        }
    }

    /// Adds up the answers, with this bound.
    async fn tally(&self, limit: u64) -> KeptAnswers {
        eventually("the answers to be added up", async || {
            let tallies = self.link.tally(&[(self.keys.clone(), limit)], TIMEOUT).await;
            tallies.unwrap().remove(0).unwrap()
        })
        .await
    }

    async fn enqueue_both(&self) -> Enqueued {
        let items = [item(true, &envelope("waited")), item(false, &envelope("sent"))];
        self.link.enqueue(&self.keys, 100, &items, &[], TIMEOUT).await.unwrap()
    }
}

fn ids(count: usize) -> Vec<String> {
    // As random at their end as those of clients are.
    (0..count)
        .map(|n| format!("{:016x}", (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect()
}

#[tokio::test]
async fn dead_letters_over_their_bytes_lose_the_oldest() {
    let mut store = Store::new().await;
    let own = store.dead_lettering(MIB);
    let ids = ids(40);
    store.dead_letter_large(&own, &ids, 64 << 10).await;
    let used = store.used(&store.keys.dead()).await;
    assert!((MIB / 2..=MIB + (100 << 10)).contains(&used), "{used}");
    let kept: Vec<String> = store.dead().await.into_iter().map(|[id, ..]| id).collect();
    assert_eq!(kept, ids[ids.len() - kept.len()..], "the newest are kept");
}

#[tokio::test]
async fn small_dead_letters_are_bounded_in_bytes() {
    let mut store = Store::new().await;
    let own = store.dead_lettering(MIB);
    let junk = "x".repeat(1000);
    for _ in 0..40 {
        let elements: Vec<String> = (0..100).map(|_| junk.clone()).collect();
        store.push(&elements).await;
        store.lease(&own, 100).await;
    }
    let used = store.used(&store.keys.dead()).await;
    assert!((MIB / 2..=MIB + MIB / 2).contains(&used), "{used}");
}

#[tokio::test]
async fn a_dead_letter_over_the_bound_alone_is_kept() {
    let mut store = Store::new().await;
    let own = store.dead_lettering(MIB);
    let ids = ids(3);
    store.dead_letter_large(&own, &ids, 1 << 21).await;
    let kept: Vec<String> = store.dead().await.into_iter().map(|[id, ..]| id).collect();
    assert_eq!(kept, ids[2..]);
}

#[tokio::test]
async fn dead_letters_without_a_bound_in_bytes_are_all_kept() {
    let mut store = Store::new().await;
    let own = store.dead_lettering(0);
    store.dead_letter_large(&own, &ids(40), 64 << 10).await;
    assert_eq!(store.dead().await.len(), 40);
}

#[tokio::test]
async fn a_topic_over_its_bytes_loses_the_oldest() {
    let mut store = Store::new().await;
    let key = Keys::new("redcall").events("door");
    let kept = TopicRetention { max: 10_000, max_bytes: MIB, age: AGE };
    let context = format!("\"{}\"", "x".repeat(64 << 10));
    let mut last = None;
    for _ in 0..40 {
        let event = NewEvent::now(Kind(1), &context);
        last = Some(store.link.publish(&[(&key, event)], kept, TIMEOUT).await.unwrap());
    }
    let used = store.used(&key).await;
    assert!((MIB / 2..=MIB + (100 << 10)).contains(&used), "{used}");
    let read =
        store.link.read_topic(&key, Some("0-0".parse().unwrap()), 100, TIMEOUT).await.unwrap();
    assert_eq!(read.entries.last().map(|(id, _)| *id), last, "the newest is kept");
    assert_eq!(read.gone + read.entries.len() as u64, 40, "and it is known how many are gone");
}

#[tokio::test]
async fn answers_at_their_bound_refuse_requests_that_want_one() {
    let mut store = Store::new().await;
    store.beat("alive", LONG, &[]).await;
    let ids = ids(8);
    store.answer_large(&ids, 256 << 10).await;
    let tally = store.tally(3 * MIB).await;
    assert!(!tally.full && (MIB + MIB / 2..3 * MIB).contains(&tally.bytes), "{tally:?}");
    assert_eq!(store.enqueue_both().await, Enqueued { waited: Waited::Taken, accepted: 2 });

    let tally = store.tally(MIB).await;
    assert!(tally.full, "{tally:?}");
    let enqueued = store.enqueue_both().await;
    assert_eq!(enqueued, Enqueued { waited: Waited::AnswersFull, accepted: 1 });
    let results =
        async |reply| store.enqueue_ext_up_to(0, EnqueueExt { reply, ..extended("placed") }).await;
    assert_eq!(results(Some(store.reply("placed"))).await, EnqueueExtResult::AnswersFull);
    assert_eq!(results(None).await, EnqueueExtResult::Queued);
    for id in &ids {
        assert_eq!(store.frames(id).await.len(), 1, "accepted answers stay");
    }

    // Deleted by any command of any client.
    for id in &ids {
        let () = store.conn.del(store.keys.response(id)).await.unwrap();
    }
    let tally = store.tally(MIB).await;
    assert_eq!(tally, KeptAnswers { bytes: 0, full: false });
    assert_eq!(store.enqueue_both().await, Enqueued { waited: Waited::Taken, accepted: 2 });
    let left = [store.keys.answers(), store.keys.answers_full()];
    assert_eq!(store.conn.exists::<_, u64>(&left).await.unwrap(), 0);
}

#[tokio::test]
async fn small_answers_are_counted_by_a_sample() {
    let mut store = Store::new().await;
    let ids = ids(6400);
    store.answer_large(&ids, 1000).await;
    let sample: usize = store.conn.hlen(store.keys.answers()).await.unwrap();
    assert!((60..=140).contains(&sample), "{sample} of about 98");
    let tally = store.tally(MIB).await;
    assert!((4_000_000..=9_000_000).contains(&tally.bytes), "{tally:?} of 6,400,000");
}

#[tokio::test]
async fn answers_of_joined_calls_and_kept_ends_are_counted() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let [a, b, c, d] = ["8f21", "03be", "77d0", "c4a9"];
    assert_eq!(
        store.enqueue_ext_up_to(0, keyed(&store, a, "1", 0)).await,
        EnqueueExtResult::Queued
    );
    assert_eq!(
        store.enqueue_ext_up_to(0, keyed(&store, b, "1", 0)).await,
        EnqueueExtResult::Deduplicated(a.into())
    );
    assert_eq!(store.lease(&own, 1).await, [a]);
    let key = store.keys.response(a);
    let padding = "x".repeat(512 << 10);
    let frame = format!(r#"{{"id":"{a}","response_key":"{key}","data":"{padding}"}}"#);
    let call = EndedCall {
        digest: digest::of_call("add", "k", None),
        keep: Some(AGE),
        frame: frame.clone(),
    };
    let answer = Outcome { call: Some(call), ..store.answer(a, &frame) };
    assert_eq!(store.poll(&own, 0, &[answer]).await.settled, [Settled::Yes]);
    // Those of both callers, and the end that is kept.
    let tally = store.tally(100 * MIB).await;
    assert!((MIB..=2 * MIB).contains(&tally.bytes), "{tally:?}");

    assert_eq!(
        store.enqueue_ext_up_to(0, keyed(&store, c, "1", 0)).await,
        EnqueueExtResult::Replayed(a.into())
    );
    let tally = store.tally(2 * MIB - MIB / 4).await;
    assert!(tally.full && tally.bytes <= 2 * MIB + MIB / 4, "{tally:?}");
    assert_eq!(
        store.enqueue_ext_up_to(0, keyed(&store, d, "1", 0)).await,
        EnqueueExtResult::AnswersFull
    );
    assert_eq!(store.frames(d).await, [""; 0]);
}

#[tokio::test]
async fn unread_parts_of_an_answer_are_counted() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let reply = store.reply("a");
    let part = format!("\"{}\"", "x".repeat(512 << 10));
    for _ in 0..4 {
        let part = part.replacen("\"", &format!("\"{}", store.received().await.len()), 1);
        store.link.push_frame(&own.leases, "a", &reply, &part, 10, TIMEOUT).await.unwrap();
    }
    store.poll(&own, 0, &[store.answer("a", "{}")]).await;
    let tally = store.tally(100 * MIB).await;
    assert!((MIB + MIB / 2..=3 * MIB).contains(&tally.bytes), "{tally:?}");
}

#[tokio::test]
async fn cancelled_ids_are_bounded() {
    let mut store = Store::new().await;
    let fill = r"for i = 1, 1001000, 1000 do
            local args = {}
            for n = i, i + 999 do
                args[#args + 1], args[#args + 2] = 9e15 + n, 'x' .. n
            end
            redis.call('ZADD', KEYS[1], unpack(args))
        end";
    let fill = redis::cmd("EVAL").arg(fill).arg(1).arg(store.keys.cancelled()).to_owned();
    let () = fill.query_async(&mut store.conn).await.unwrap();
    store.beat("alive", LONG, &[]).await;
    let held: u64 = store.conn.zcard(store.keys.cancelled()).await.unwrap();
    assert_eq!(held, 1_000_000);
    let first: Option<f64> = store.conn.zscore(store.keys.cancelled(), "x1").await.unwrap();
    assert_eq!(first, None, "those that would be forgotten first go");
}
