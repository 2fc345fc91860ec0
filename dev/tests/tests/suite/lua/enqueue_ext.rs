//! `enqueue_ext.lua`: requests that are due later, fetched later, or the same call as another one.

use redcall_common::digest;
use redcall_common::request::ReplyTo;
use redcall_store::{EnqueueExt, EnqueueExtResult, Idempotency, SendOps as _, Session as _};
use redis::AsyncCommands;

use super::{CHANNEL, LONG, Store, TIMEOUT, envelope};

/// 30 days, which is how long a record is kept while its call runs.
const MONTH_MS: i64 = 30 * 24 * 3_600_000;

/// A fire-and-forget request.
pub(super) fn extended(id: &str) -> EnqueueExt {
    EnqueueExt {
        tracking: None,
        waited: false,
        id: id.to_owned(),
        envelope: envelope(id),
        due_ms: 0,
        reply: None,
        pending: None,
        idempotency: None,
    }
}

/// A request under the idempotency key `k`, with a caller that waits until `deadline_ms`.
pub(super) fn keyed(store: &Store, id: &str, data: &str, deadline_ms: u64) -> EnqueueExt {
    let idempotency =
        Idempotency { record: record(store), digest: digest::of_data(data), deadline_ms };
    let (reply, idempotency) = (Some(store.reply(id)), Some(idempotency));
    EnqueueExt { reply, idempotency, ..extended(id) }
}

fn record(store: &Store) -> String {
    store.keys.idem(&digest::of_call("add", "k", None))
}

impl Store {
    async fn enqueue_ext(&self, extended: EnqueueExt) -> EnqueueExtResult {
        self.enqueue_ext_up_to(0, extended).await
    }

    pub(super) async fn enqueue_ext_up_to(
        &self,
        max_length: u64,
        extended: EnqueueExt,
    ) -> EnqueueExtResult {
        let requests = [extended];
        let results = self.link.enqueue_ext(&self.keys, max_length, &requests, TIMEOUT).await;
        results.unwrap().remove(0).unwrap()
    }

    async fn hash(&mut self, key: &str) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = self.conn.hgetall(key).await.unwrap();
        fields.sort_unstable();
        fields
    }

    /// Also receives the messages to workers.
    async fn with_control_channel() -> Self {
        let store = Self::new().await;
        store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
        store
    }
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_submitted_request_leaves_a_mark_and_a_refused_one_nothing() {
    let mut store = Store::new().await;
    let submission = |store: &Store, id: &str| {
        let pending = Some(r#"{"type":"pending"}"#.to_owned());
        EnqueueExt { reply: Some(store.reply(id)), pending, ..extended(id) }
    };
    assert_eq!(store.enqueue_ext_up_to(1, submission(&store, "a")).await, EnqueueExtResult::Queued);
    assert_eq!(store.enqueue_ext_up_to(1, submission(&store, "b")).await, EnqueueExtResult::Full);
    assert_eq!(store.queued().await, [envelope("a")]);
    assert_eq!(store.frames("a").await, [r#"{"type":"pending"}"#]);
    let ttl: i64 = store.conn.pttl(store.keys.response("a")).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    assert!(!store.conn.exists::<_, bool>(store.keys.response("b")).await.unwrap());
    assert_eq!(store.enqueue_ext(submission(&store, "b")).await, EnqueueExtResult::Queued);
    // Sent again, because a reply was lost.
    assert_eq!(store.enqueue_ext(submission(&store, "a")).await, EnqueueExtResult::Queued);
    assert_eq!(store.queued().await, [envelope("a"), envelope("b")]);
    assert_eq!(store.frames("a").await.len(), 1);
}

#[tokio::test]
async fn waited_request_without_workers_is_refused_unless_delayed() {
    let mut store = Store::new().await;
    let waited = |store: &Store, id: &str| EnqueueExt { waited: true, ..keyed(store, id, "1", 0) };
    assert_eq!(store.enqueue_ext(waited(&store, "a")).await, EnqueueExtResult::NoWorkers);
    let () = store.conn.zadd(store.keys.workers(), "dead", 1000).await.unwrap();
    assert_eq!(store.enqueue_ext(waited(&store, "a")).await, EnqueueExtResult::NoWorkers);
    assert_eq!(store.all_keys().await, [store.keys.workers()]);
    let due_ms = store.now_ms().await + 60_000;
    let later = EnqueueExt { due_ms, waited: true, ..extended("later") };
    assert_eq!(store.enqueue_ext(later).await, EnqueueExtResult::Queued);
    store.beat("alive", LONG, &[]).await;
    assert_eq!(store.enqueue_ext(waited(&store, "a")).await, EnqueueExtResult::Queued);
    assert_eq!(store.queued().await, [envelope("a")]);
}

#[tokio::test]
async fn delayed_request_is_scheduled_and_the_earliest_notified() {
    let mut store = Store::with_control_channel().await;
    let now = store.now_ms().await;
    let at = |id: &str, due_ms| EnqueueExt { due_ms, ..extended(id) };
    let (early, late) = (now + 60_000, now + 120_000);
    assert_eq!(store.enqueue_ext(at("a", late)).await, EnqueueExtResult::Queued);
    assert_eq!(store.enqueue_ext(at("b", early)).await, EnqueueExtResult::Queued);
    assert_eq!(store.enqueue_ext(at("c", late)).await, EnqueueExtResult::Queued);
    assert_eq!(store.received().await, [format!("due {late}"), format!("due {early}")]);
    // Sent again, because a reply was lost: it stays where it is.
    assert_eq!(store.enqueue_ext(at("b", late)).await, EnqueueExtResult::Queued);
    assert_eq!(store.received().await, [""; 0]);
    let schedule: Vec<(String, u64)> =
        store.conn.zrange_withscores(store.keys.schedule(), 0, -1).await.unwrap();
    let expected = [("b", early), ("a", late), ("c", late)];
    assert_eq!(schedule, expected.map(|(id, due)| (id.to_owned(), due)));
    let scheduled = store.hash(&store.keys.scheduled()).await;
    let envelopes = ["a", "b", "c"].map(|id| (id.to_owned(), envelope(id)));
    assert_eq!(scheduled, envelopes);
    assert_eq!(store.queued().await, [""; 0]);
    // A request that became due in flight is not late. (The client's estimate of Redis's clock may
    // be ahead.)
    assert_eq!(store.enqueue_ext(at("d", now - 10_000)).await, EnqueueExtResult::Queued);
    assert_eq!(store.queued().await, [envelope("d")]);
}

#[tokio::test]
async fn delayed_requests_count_for_the_cap_of_place() {
    let store = Store::new().await;
    let due_ms = store.now_ms().await + 60_000;
    let later = |id: &str| EnqueueExt { due_ms, ..extended(id) };
    assert_eq!(store.enqueue_ext_up_to(2, later("a")).await, EnqueueExtResult::Queued);
    assert_eq!(store.enqueue_ext_up_to(2, extended("b")).await, EnqueueExtResult::Queued);
    assert_eq!(store.enqueue_ext_up_to(2, later("c")).await, EnqueueExtResult::Full);
    assert_eq!(store.enqueue_ext_up_to(2, extended("d")).await, EnqueueExtResult::Full);
    assert_eq!(store.enqueue_ext_up_to(0, later("c")).await, EnqueueExtResult::Queued);
}

#[tokio::test]
async fn first_call_of_a_key_makes_its_record_and_others_join() {
    let mut store = Store::with_control_channel().await;
    assert_eq!(store.enqueue_ext(keyed(&store, "a", "1", 1000)).await, EnqueueExtResult::Queued);
    let (record, digest) = (record(&store), digest::of_data("1"));
    let waits = format!("60000 {CHANNEL}");
    let mut fields =
        vec![("deadline", "1000"), ("digest", &*digest), ("id", "a"), ("w:a", &*waits)];
    assert_eq!(store.hash(&record).await, pairs(&fields));
    let ttl: i64 = store.conn.pttl(&record).await.unwrap();
    assert!((MONTH_MS - 10_000..=MONTH_MS).contains(&ttl), "{ttl}");
    // Sent again, because a reply was lost.
    assert_eq!(store.enqueue_ext(keyed(&store, "a", "1", 1000)).await, EnqueueExtResult::Queued);

    let silent = ReplyTo { notify: None, ..store.reply("b") };
    let mut second = keyed(&store, "b", "1", 500);
    (second.reply, second.pending) = (Some(silent), Some("{}".to_owned()));
    assert_eq!(store.enqueue_ext(second).await, EnqueueExtResult::Deduplicated("a".to_owned()));
    assert_eq!(store.frames("b").await, ["{}"]);
    fields.push(("w:b", "60000 -"));
    assert_eq!(store.hash(&record).await, pairs(&fields));
    assert_eq!(store.received().await, [""; 0]);

    // The third is not waited for: it only keeps the call from being withdrawn. Conditions that
    // stop a new call do not stop it.
    let third = EnqueueExt { reply: None, ..keyed(&store, "c", "1", 2000) };
    assert_eq!(
        store.enqueue_ext_up_to(1, third).await,
        EnqueueExtResult::Deduplicated("a".to_owned())
    );
    fields[0] = ("deadline", "2000");
    fields.insert(3, ("keep", "1"));
    assert_eq!(store.hash(&record).await, pairs(&fields));
    let fourth = EnqueueExt { waited: true, ..keyed(&store, "d", "1", 0) };
    assert_eq!(store.enqueue_ext(fourth).await, EnqueueExtResult::Deduplicated("a".to_owned()));
    let fifth = keyed(&store, "e", "1", 9000);
    assert_eq!(store.enqueue_ext(fifth).await, EnqueueExtResult::Deduplicated("a".to_owned()));
    fields[0] = ("deadline", "0");
    fields.extend([("w:d", &*waits), ("w:e", &*waits)]);
    assert_eq!(store.hash(&record).await, pairs(&fields));
    assert_eq!(store.received().await, ["extend a 2000", "extend a 0"]);
    assert_eq!(store.queued().await, [envelope("a")]);
}

#[tokio::test]
async fn record_outlives_its_delayed_request() {
    let mut store = Store::new().await;
    let due_ms = store.now_ms().await + MONTH_MS as u64;
    let later = EnqueueExt { due_ms, ..keyed(&store, "a", "1", 0) };
    assert_eq!(store.enqueue_ext(later).await, EnqueueExtResult::Queued);
    let ttl: i64 = store.conn.pttl(record(&store)).await.unwrap();
    // The clock of the link is not off by a second.
    assert!((2 * MONTH_MS - 10_000..=2 * MONTH_MS + 1000).contains(&ttl), "{ttl}");
    // A joining call does not shorten it.
    assert!(matches!(
        store.enqueue_ext(keyed(&store, "b", "1", 0)).await,
        EnqueueExtResult::Deduplicated(_)
    ));
    assert!(store.conn.pttl::<_, i64>(record(&store)).await.unwrap() > MONTH_MS);
}

#[tokio::test]
async fn the_same_key_with_other_data_is_a_conflict() {
    let mut store = Store::new().await;
    assert_eq!(store.enqueue_ext(keyed(&store, "a", "1", 0)).await, EnqueueExtResult::Queued);
    let before = store.hash(&record(&store)).await;
    assert_eq!(store.enqueue_ext(keyed(&store, "b", "2", 0)).await, EnqueueExtResult::Conflict);
    assert_eq!(store.hash(&record(&store)).await, before);
    let () = store.conn.hset(record(&store), "tail", r#","type":"result"}"#).await.unwrap();
    assert_eq!(store.enqueue_ext(keyed(&store, "b", "2", 0)).await, EnqueueExtResult::Conflict);
    assert_eq!(store.frames("b").await, [""; 0]);
    assert_eq!(store.queued().await, [envelope("a")]);
}

#[tokio::test]
async fn a_hundred_callers_wait_for_one_call_and_no_more() {
    let mut store = Store::new().await;
    assert_eq!(store.enqueue_ext(keyed(&store, "0", "1", 0)).await, EnqueueExtResult::Queued);
    let keep = EnqueueExt { reply: None, ..keyed(&store, "keeps", "1", 0) };
    assert!(matches!(store.enqueue_ext(keep).await, EnqueueExtResult::Deduplicated(_)));
    for n in 1..100 {
        let joined = store.enqueue_ext(keyed(&store, &n.to_string(), "1", 0)).await;
        assert_eq!(joined, EnqueueExtResult::Deduplicated("0".to_owned()), "{n}");
    }
    assert_eq!(
        store.enqueue_ext(keyed(&store, "100", "1", 0)).await,
        EnqueueExtResult::TooManyWaiters
    );
    // Sent again, because a reply was lost; and one that does not wait.
    assert!(matches!(
        store.enqueue_ext(keyed(&store, "99", "1", 0)).await,
        EnqueueExtResult::Deduplicated(_)
    ));
    let keep = EnqueueExt { reply: None, ..keyed(&store, "101", "1", 0) };
    assert!(matches!(store.enqueue_ext(keep).await, EnqueueExtResult::Deduplicated(_)));
    assert_eq!(store.hash(&record(&store)).await.len(), 104);
}

#[tokio::test]
async fn kept_end_of_a_call_is_returned_to_later_callers() {
    let mut store = Store::new().await;
    let tail = r#","type":"result","seq":1,"attempt":1,"data":2}"#;
    assert_eq!(store.enqueue_ext(keyed(&store, "a", "1", 0)).await, EnqueueExtResult::Queued);
    let () = store.conn.hset(record(&store), "tail", tail).await.unwrap();
    let replayed = EnqueueExtResult::Replayed("a".to_owned());
    assert_eq!(store.enqueue_ext(keyed(&store, "b", "1", 0)).await, replayed);
    let key = store.keys.response("b");
    let frame = format!(r#"{{"id":"b","response_key":"{key}"{tail}"#);
    assert_eq!(store.frames("b").await, [&*frame]);
    let ttl: i64 = store.conn.pttl(&key).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    assert_eq!(store.received().await, [format!("[{frame}]")]);
    // Sent again, because a reply was lost.
    assert_eq!(store.enqueue_ext(keyed(&store, "b", "1", 0)).await, replayed);
    assert_eq!(store.frames("b").await.len(), 1);
    assert_eq!(store.received().await, [""; 0]);
    // Without a receiver and without a caller.
    let mut silent = keyed(&store, "c", "1", 0);
    silent.reply = Some(ReplyTo { notify: None, ..store.reply("c") });
    assert_eq!(store.enqueue_ext(silent).await, replayed);
    assert_eq!(store.frames("c").await.len(), 1);
    let gone = EnqueueExt { reply: None, ..keyed(&store, "d", "1", 0) };
    assert_eq!(store.enqueue_ext(gone).await, replayed);
    assert_eq!((store.frames("d").await.len(), store.received().await.len()), (0, 0));
    // A large one is announced by its id.
    let large = format!(r#","type":"result","data":"{}"}}"#, "x".repeat(8192));
    let () = store.conn.hset(record(&store), "tail", &large).await.unwrap();
    assert_eq!(store.enqueue_ext(keyed(&store, "e", "1", 0)).await, replayed);
    assert_eq!(store.received().await, [r#"["e"]"#]);
    assert_eq!(store.queued().await, [envelope("a")]);
}

#[tokio::test]
async fn a_call_that_was_cancelled_is_not_joined() {
    let mut store = Store::new().await;
    assert_eq!(store.enqueue_ext(keyed(&store, "a", "1", 1000)).await, EnqueueExtResult::Queued);
    assert!(matches!(
        store.enqueue_ext(keyed(&store, "b", "1", 0)).await,
        EnqueueExtResult::Deduplicated(_)
    ));
    let now = store.now_ms().await;
    let () = store.conn.zadd(store.keys.cancelled(), "a", now + 60_000).await.unwrap();
    // Also with other data: the call has ended.
    assert_eq!(store.enqueue_ext(keyed(&store, "c", "2", 3000)).await, EnqueueExtResult::Queued);
    let (digest, waits) = (digest::of_data("2"), format!("60000 {CHANNEL}"));
    let fields = [("deadline", "3000"), ("digest", &*digest), ("id", "c"), ("w:c", &*waits)];
    assert_eq!(store.hash(&record(&store)).await, pairs(&fields));
    assert_eq!(store.queued().await, [envelope("a"), envelope("c")]);
    // Expired tombstones are ignored.
    let () = store.conn.zadd(store.keys.cancelled(), "c", now - 1000).await.unwrap();
    let joined = store.enqueue_ext(keyed(&store, "d", "2", 0)).await;
    assert_eq!(joined, EnqueueExtResult::Deduplicated("c".to_owned()));
}

#[tokio::test]
async fn several_are_placed_in_one_write_each_with_its_own_outcome() {
    let mut store = Store::new().await;
    let due_ms = store.now_ms().await + 60_000;
    let waited = EnqueueExt { waited: true, ..extended("waits") };
    let later = EnqueueExt { due_ms, ..extended("later") };
    let several =
        [keyed(&store, "a", "1", 0), waited, keyed(&store, "b", "2", 0), later, extended("c")];
    let results = store.link.enqueue_ext(&store.keys, 2, &several, TIMEOUT).await.unwrap();
    let results: Vec<EnqueueExtResult> = results.into_iter().map(Result::unwrap).collect();
    let expected = [
        EnqueueExtResult::Queued,
        EnqueueExtResult::NoWorkers,
        EnqueueExtResult::Conflict,
        EnqueueExtResult::Queued,
        EnqueueExtResult::Full,
    ];
    assert_eq!(results, expected);
    // One that Redis refuses does not hold up the others.
    let () = store.conn.set("redcall:{q}:idem:odd", "not a hash").await.unwrap();
    let mut odd = keyed(&store, "d", "1", 0);
    odd.idempotency.as_mut().unwrap().record = "redcall:{q}:idem:odd".to_owned();
    let results =
        store.link.enqueue_ext(&store.keys, 0, &[odd, extended("e")], TIMEOUT).await.unwrap();
    assert!(
        results[0].is_err()
            && results[1].as_ref().is_ok_and(|one| *one == EnqueueExtResult::Queued)
    );
    assert_eq!(store.queued().await, [envelope("a"), envelope("e")]);
}
