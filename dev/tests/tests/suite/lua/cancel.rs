//! `cancel.lua`: withdrawn requests.

use redcall_store::{CancelRequest, Cancellation, SendOps as _, Session as _};
use redis::AsyncCommands;

use super::{Store, TIMEOUT, envelope};

const RECORD: &str = "redcall:{q}:idem:record";

fn withdrawn(id: &str, ttl_ms: u64) -> CancelRequest {
    CancelRequest { id: id.to_owned(), ttl_ms, record: None }
}

fn of_record(id: &str) -> CancelRequest {
    CancelRequest { record: Some(RECORD.to_owned()), ..withdrawn(id, 60_000) }
}

impl Store {
    async fn cancel(&self, requests: &[CancelRequest]) -> Vec<Cancellation> {
        self.link.cancel(&self.keys, requests, TIMEOUT).await.unwrap().0
    }

    /// The ids with tombstones, and for how long those live, ms.
    async fn tombstones(&mut self) -> Vec<(String, i64)> {
        let key = self.keys.cancelled();
        let tombs: Vec<(String, i64)> = self.conn.zrange_withscores(key, 0, -1).await.unwrap();
        let now = i64::try_from(self.now_ms().await).unwrap();
        tombs.into_iter().map(|(id, until)| (id, until - now)).collect()
    }

    async fn tombs(&mut self) -> Vec<String> {
        self.tombstones().await.into_iter().map(|(id, _)| id).collect()
    }

    async fn record(&mut self, fields: &[(&str, &str)]) {
        let fixed = [("digest", "d"), ("id", "a"), ("deadline", "0")];
        let all = [&fixed[..], fields].concat();
        let () = self.conn.hset_multiple(RECORD, &all).await.unwrap();
    }

    async fn fields(&mut self) -> Vec<String> {
        let mut fields: Vec<String> = self.conn.hkeys(RECORD).await.unwrap();
        fields.sort_unstable();
        fields
    }
}

#[tokio::test]
async fn each_request_is_withdrawn_where_it_is() {
    let mut store = Store::new().await;
    store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
    let own = store.worker("own");
    store.push_ids(&["leased", "queued"]).await;
    assert_eq!(store.lease(&own, 1).await, ["leased"]);
    let (schedule, scheduled) = (store.keys.schedule(), store.keys.scheduled());
    for id in ["late", "later"] {
        let () = store.conn.zadd(&schedule, id, 1e15).await.unwrap();
        let () = store.conn.hset(&scheduled, id, envelope(id)).await.unwrap();
    }
    let ids = ["leased", "late", "queued", "unknown"].map(|id| withdrawn(id, 60_000));
    let expected =
        [Cancellation::Running, Cancellation::Delayed, Cancellation::Unseen, Cancellation::Unseen];
    assert_eq!(store.cancel(&ids).await, expected);
    assert_eq!(store.received().await, ["cancel leased"]);
    assert_eq!(store.queued().await, [envelope("late"), envelope("queued")]);
    assert_eq!(store.conn.zrange::<_, Vec<String>>(&schedule, 0, -1).await.unwrap(), ["later"]);
    assert_eq!(store.conn.hkeys::<_, Vec<String>>(&scheduled).await.unwrap(), ["later"]);
    assert_eq!(store.tombs().await, ["late", "leased", "queued", "unknown"]);
    assert_eq!(store.live().await, ["leased"]);
    // Again: the delayed request is queued now.
    let again = [withdrawn("leased", 1000), withdrawn("late", 1000)];
    assert_eq!(store.cancel(&again).await, [Cancellation::Running, Cancellation::Unseen]);
    assert_eq!(store.queued().await.len(), 2);
}

#[tokio::test]
async fn tombstone_lives_as_long_as_the_longest_withdrawal() {
    let mut store = Store::new().await;
    store.cancel(&[withdrawn("a", 60_000)]).await;
    store.cancel(&[withdrawn("a", 1000), withdrawn("b", 30_000)]).await;
    let tombs = store.tombstones().await;
    assert_eq!(tombs.iter().map(|(id, _)| &**id).collect::<Vec<_>>(), ["b", "a"]);
    assert!((20_000..=30_500).contains(&tombs[0].1), "{tombs:?}");
    assert!((50_000..=60_500).contains(&tombs[1].1), "{tombs:?}");
    let ttl: i64 = store.conn.pttl(store.keys.cancelled()).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    store.cancel(&[withdrawn("c", 90_000)]).await;
    let ttl: i64 = store.conn.pttl(store.keys.cancelled()).await.unwrap();
    assert!((80_000..=90_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn workers_are_notified_in_batches_of_a_hundred() {
    let mut store = Store::new().await;
    store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
    let ids: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    for id in &ids {
        let () = store.conn.hset(store.keys.live(), id, "own").await.unwrap();
    }
    let all: Vec<CancelRequest> = ids.iter().map(|id| withdrawn(id, 60_000)).collect();
    assert_eq!(store.cancel(&all).await, vec![Cancellation::Running; 250]);
    let messages = ids.chunks(100).map(|ids| format!("cancel {}", ids.join(" ")));
    assert_eq!(store.received().await, messages.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_call_is_kept_while_others_want_it() {
    let mut store = Store::new().await;
    store.record(&[("w:a", "1 -"), ("w:b", "1 -"), ("keep", "1")]).await;
    assert_eq!(store.cancel(&[of_record("a")]).await, [Cancellation::Kept]);
    assert_eq!(store.fields().await, ["deadline", "digest", "id", "keep", "w:b"]);
    // A caller without a wait wants it to run, so it is kept.
    assert_eq!(store.cancel(&[of_record("b")]).await, [Cancellation::Kept]);
    assert_eq!(store.cancel(&[of_record("a")]).await, [Cancellation::Kept]);
    assert_eq!(store.fields().await, ["deadline", "digest", "id", "keep"]);
    assert_eq!(store.tombs().await, [""; 0]);
    // Its end is kept for later callers.
    let () = store.conn.del(RECORD).await.unwrap();
    store.record(&[("w:a", "1 -"), ("tail", "}")]).await;
    assert_eq!(store.cancel(&[of_record("a")]).await, [Cancellation::Kept]);
    assert_eq!(store.fields().await, ["deadline", "digest", "id", "tail"]);
    assert_eq!(store.tombs().await, [""; 0]);
}

#[tokio::test]
async fn last_caller_withdraws_the_running_request() {
    let mut store = Store::new().await;
    store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
    let () = store.conn.hset(store.keys.live(), "a", "own").await.unwrap();
    store.record(&[("w:a", "1 -"), ("w:b", "1 -")]).await;
    let both = [of_record("a"), of_record("b")];
    assert_eq!(store.cancel(&both).await, [Cancellation::Kept, Cancellation::Running]);
    assert_eq!(store.received().await, ["cancel a"]);
    assert_eq!(store.fields().await, [""; 0]);
    // Without a deadline it may come to a worker for long.
    let tombs = store.tombstones().await;
    assert_eq!(tombs.len(), 1);
    assert!((86_300_000..=86_400_500).contains(&tombs[0].1), "{tombs:?}");
    // Until its deadline plus a lease; a deadline from outside is capped at a year.
    let _: () = store.conn.del(store.keys.cancelled()).await.unwrap();
    let deadline = (store.now_ms().await + 600_000).to_string();
    for (deadline, lives) in [(&*deadline, 630_000), ("18446744073709551615", 31_536_000_000)] {
        store.record(&[("w:b", "1 -"), ("deadline", deadline)]).await;
        assert_eq!(store.cancel(&[of_record("b")]).await, [Cancellation::Running]);
        let tombs = store.tombstones().await;
        assert!((lives - 10_000..=lives + 500).contains(&tombs[0].1), "{tombs:?}");
    }
}

#[tokio::test]
async fn record_of_another_call_is_ignored() {
    let mut store = Store::new().await;
    // Gone.
    assert_eq!(store.cancel(&[of_record("b")]).await, [Cancellation::Unseen]);
    assert_eq!(store.tombs().await, ["b"]);
    // A later call under the same key.
    store.record(&[("w:a", "1 -")]).await;
    assert_eq!(store.cancel(&[of_record("c")]).await, [Cancellation::Unseen]);
    assert_eq!(store.tombs().await, ["b", "c"]);
    assert_eq!(store.fields().await, ["deadline", "digest", "id", "w:a"]);
}
