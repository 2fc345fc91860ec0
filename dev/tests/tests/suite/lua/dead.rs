//! `letters.lua`, `revive.lua` and `pause.lua`: dead letters read, retried and purged; pausing.

use std::time::Duration;

use redcall_client::Code;
use redcall_common::keys::Keys;
use redcall_store::dead::{DeadLetters, DeadSelection, Run};
use redcall_store::inspect::Inspector;
use redcall_store::{Outcome, PauseOps as _, Session as _, Settlement, WorkerKeys};
use redis::AsyncCommands;

use super::{Store, TIMEOUT, envelope, outcome};

impl Store {
    /// The dead letters of the queue, which holds up to `max_length` requests.
    pub(super) fn letters(&self, max_length: u64) -> DeadLetters {
        let inspector = Inspector::new(&self.connector, Keys::new("redcall"));
        inspector.dead("q", max_length)
    }

    /// Dead-letters by hand; returns the entry.
    pub(super) async fn dead_letter(
        &mut self,
        entry: &str,
        id: &str,
        code: &str,
        request: impl AsRef<[u8]>,
    ) {
        let mut add = redis::cmd("XADD");
        add.arg(self.keys.dead()).arg(entry).arg("id").arg(id).arg("code").arg(code);
        add.arg("reason").arg("why").arg("worker").arg("w").arg("request").arg(request.as_ref());
        let _: String = add.query_async(&mut self.conn).await.unwrap();
    }

    /// Dead-letters requests `x1`, `x2`, … as entries `1-0`, `2-0`, ….
    async fn dead_letter_many(&mut self, count: usize) {
        for n in 1..=count {
            self.dead_letter(
                &format!("{n}-0"),
                &format!("x{n}"),
                "timeout",
                envelope(&format!("x{n}")),
            )
            .await;
        }
    }

    /// Dead-letters `ids` by the settling script, as workers do.
    async fn dead_letter_by(&mut self, own: &WorkerKeys, ids: &[&str]) {
        self.push_ids(ids).await;
        assert_eq!(self.lease(own, ids.len()).await, ids);
        let outcomes: Vec<Outcome> = ids.iter().map(|id| dead_lettered(id)).collect();
        self.poll(own, 0, &outcomes).await;
    }

    async fn entries(&mut self) -> Vec<String> {
        let range = redis::cmd("XRANGE").arg(self.keys.dead()).arg("-").arg("+").to_owned();
        type Entry = (String, Vec<Vec<u8>>);
        let entries: Vec<Entry> = range.query_async(&mut self.conn).await.unwrap();
        entries.into_iter().map(|(entry, _)| entry).collect()
    }
}

fn dead_lettered(id: &str) -> Outcome {
    let (code, reason) = (Code::Timeout, "why".to_owned());
    let mut outcome = outcome(id, Settlement::DeadLetter { code, reason, answer: None });
    outcome.run = r#"{"attempt":1,"worker":"own","started_at":1763683200000,"#.to_owned()
        + r#""ended_at":1763683200500,"code":"timeout","message":"slow"}"#;
    outcome
}

fn all() -> DeadSelection {
    DeadSelection::default()
}

fn of(ids: &[&str]) -> DeadSelection {
    DeadSelection { ids: ids.iter().map(ToString::to_string).collect(), ..all() }
}

async fn listed(letters: &DeadLetters, selection: &DeadSelection) -> Vec<String> {
    let page = letters.list(selection).await.unwrap();
    page.letters.into_iter().map(|letter| letter.entry).collect()
}

#[tokio::test]
async fn dead_letter_of_a_worker_has_its_attempts() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let before = store.now_ms().await;
    store.dead_letter_by(&own, &["a"]).await;
    let page = store.letters(0).list(&all()).await.unwrap();
    let [letter] = page.letters.as_slice() else { panic!("{page:?}") };
    assert_eq!((&*letter.id, letter.name.as_deref(), page.next), ("a", Some("add"), None));
    assert_eq!((&*letter.code, &*letter.reason, &*letter.worker), ("timeout", "why", "own"));
    assert_eq!((letter.attempts(), &letter.request), (1, &envelope("a").into_bytes()));
    assert!(letter.at_ms.abs_diff(before) < 5_000, "{} at {before}", letter.at_ms);
    let run = Run {
        attempt: 1,
        worker: "own".to_owned(),
        started_at: Some(1_763_683_200_000),
        ended_at: Some(1_763_683_200_500),
        code: "timeout".to_owned(),
        message: "slow".to_owned(),
    };
    assert_eq!(letter.history, [run]);
}

#[tokio::test]
async fn letters_are_bounded_by_number_and_by_age() {
    let mut store = Store::new().await;
    // Entries go by nodes of the stream, of a hundred at most.
    let few = WorkerKeys::new(store.keys.clone(), "own", 10, Duration::from_secs(3600));
    let ids: Vec<String> = (0..300).map(|n| format!("x{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    store.dead_letter_by(&few, &ids).await;
    let kept = store.letters(0).list(&all()).await.unwrap().letters;
    assert!((10..=110).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap().id, "x299");

    let () = store.conn.del(store.keys.dead()).await.unwrap();
    store.dead_letter_many(300).await; // of the year 1970
    let many = WorkerKeys::new(store.keys.clone(), "own", 10_000, Duration::from_secs(3600));
    store.dead_letter_by(&many, &["new"]).await;
    let kept = store.letters(0).list(&all()).await.unwrap().letters;
    assert!((1..=101).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().unwrap().id, "new");
    let ttl: i64 = store.conn.pttl(store.keys.dead()).await.unwrap();
    assert!((3_000_000..=3_600_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn letters_are_listed_in_both_orders_and_by_pages() {
    let mut store = Store::new().await;
    let letters = store.letters(0);
    assert_eq!(letters.list(&all()).await.unwrap().letters, []);
    store.dead_letter_many(5).await;
    assert_eq!(listed(&letters, &all()).await, ["1-0", "2-0", "3-0", "4-0", "5-0"]);
    for (newest_first, expected) in
        [(false, [["1-0", "2-0"], ["3-0", "4-0"]]), (true, [["5-0", "4-0"], ["3-0", "2-0"]])]
    {
        let mut selection = DeadSelection { newest_first, limit: Some(2), ..all() };
        for entries in expected {
            let page = letters.list(&selection).await.unwrap();
            let listed: Vec<_> = page.letters.iter().map(|letter| &*letter.entry).collect();
            assert_eq!((listed, page.next.as_deref()), (entries.to_vec(), Some(entries[1])));
            selection.after = page.next;
        }
        let page = letters.list(&selection).await.unwrap();
        assert_eq!((page.letters.len(), page.next), (1, None));
    }
    // Exactly as many as there are: there is no next page.
    let page = letters.list(&DeadSelection { limit: Some(5), ..all() }).await.unwrap();
    assert_eq!((page.letters.len(), page.next), (5, None));
}

#[tokio::test]
async fn a_command_reads_a_thousand_letters_or_eight_mib() {
    let mut store = Store::new().await;
    store.dead_letter_many(2500).await;
    let letters = store.letters(0);
    assert_eq!(listed(&letters, &all()).await.len(), 2500);
    let stats = redis::cmd("INFO").arg("commandstats").to_owned();
    let calls: String = stats.query_async(&mut store.conn).await.unwrap();
    // One for the newest, three for the rest.
    assert!(calls.contains("cmdstat_evalsha:calls=4,"), "{calls}");

    let () = store.conn.del(store.keys.dead()).await.unwrap();
    let large = format!(r#"{{"id":"a","name":"add","data":"{}"}}"#, "x".repeat(3 << 20));
    for n in 1..=5 {
        store.dead_letter(&format!("{n}-0"), "a", "timeout", &large).await;
    }
    // A page ends there, and the next one continues.
    let page = letters.list(&all()).await.unwrap();
    assert_eq!((page.letters.len(), page.next.as_deref()), (4, Some("4-0")));
    let rest = DeadSelection { after: page.next, ..all() };
    assert_eq!(listed(&letters, &rest).await, ["5-0"]);
    let report = letters.retry(&all(), false).await.unwrap();
    assert_eq!((report.done.len(), store.entries().await.len()), (5, 0));
    assert_eq!(store.queued().await.len(), 5);
}

#[tokio::test]
async fn letters_are_picked_by_code_name_and_id() {
    let mut store = Store::new().await;
    let other = r#"{"id":"b","name":"other","data":1}"#;
    store.dead_letter("1-0", "a", "timeout", envelope("a")).await;
    store.dead_letter("2-0", "b", "timeout", other).await;
    store.dead_letter("3-0", "b", "handler_failed", other).await;
    store.dead_letter("4-0", "", "invalid_request", "nonsense").await;
    store.dead_letter("5-0", "2-0", "timeout", envelope("2-0")).await;
    let letters = store.letters(0);
    let code = DeadSelection { code: Some(Code::Timeout), ..all() };
    assert_eq!(listed(&letters, &code).await, ["1-0", "2-0", "5-0"]);
    let name = DeadSelection { name: Some("other".to_owned()), ..all() };
    assert_eq!(listed(&letters, &name).await, ["2-0", "3-0"]);
    let both = DeadSelection { code: Some(Code::Timeout), ..name.clone() };
    assert_eq!(listed(&letters, &both).await, ["2-0"]);
    // All letters of a request; an entry; an entry whose id is that of a request, too.
    assert_eq!(listed(&letters, &of(&["b"])).await, ["2-0", "3-0"]);
    assert_eq!(listed(&letters, &of(&["4-0", "a", "4-0"])).await, ["4-0", "1-0"]);
    assert_eq!(listed(&letters, &of(&["2-0"])).await, ["2-0"]);
    assert_eq!(listed(&letters, &of(&["3-0", "b"])).await, ["3-0", "2-0"]);
    let report = letters.purge(&of(&["a", "absent", "9-9", "absent"]), true).await.unwrap();
    assert_eq!((report.done.len(), report.unknown), (1, vec!["absent".into(), "9-9".into()]));
    let wrong = DeadSelection { ids: vec!["a".to_owned()], ..name };
    assert_eq!(letters.purge(&wrong, false).await.unwrap().unknown, ["a"]);
    // The newest of a request is shown.
    assert_eq!(letters.show("b").await.unwrap().unwrap().entry, "3-0");
    assert_eq!(letters.show("1-0").await.unwrap().unwrap().id, "a");
    assert_eq!(letters.show("absent").await.unwrap(), None);
    assert_eq!(store.entries().await.len(), 5);
}

/// A request without the time at which it was retried.
fn without_time(raw: &str) -> String {
    match raw.split_once(r#","retried_at":"#) {
        Some((begin, time)) if time.trim_end_matches('}').parse::<u64>().is_ok() => {
            format!("{begin}}}")
        }
        _ => raw.to_owned(),
    }
}

#[tokio::test]
async fn retried_dead_letter_is_queued_without_its_caller() {
    let mut store = Store::new().await;
    store.push_ids(&["before"]).await;
    let rest = r#","data":{"n":12345678901234567890.10},"budget_ms":5,"headers":{"a":"b"}"#;
    let start = r#"{"name":"add","response_key":"redcall:{q}:response:a","id":"a""#;
    let end = r#","enqueued_at":1,"notify":"redcall:{q}:notify:c","idempotency_key":"k""#;
    let old = format!(r#"{start}{rest}{end},"response_ttl_ms":9}}"#);
    store.dead_letter("1-0", "a", "timeout", &old).await;
    store.dead_letter("2-0", "b", "timeout", envelope("b")).await;
    let () = store.conn.zadd(store.keys.cancelled(), "a", 1e15).await.unwrap();
    let report = store.letters(0).retry(&all(), false).await.unwrap();
    let done: Vec<_> = report.done.iter().map(|letter| (&*letter.entry, &*letter.id)).collect();
    assert_eq!(done, [("1-0", "a"), ("2-0", "b")]);
    assert!(report.skipped.is_empty() && !report.full && report.gone == 0, "{report:?}");
    let new = format!(r#"{{"id":"a","name":"add"{rest},"enqueued_at":1}}"#);
    let queued: Vec<String> = store.queued().await.iter().map(|raw| without_time(raw)).collect();
    assert_eq!(queued, [envelope("before"), new, envelope("b")]);
    assert_eq!(store.entries().await, [""; 0]);
    // A retry clears an earlier cancellation.
    assert!(!store.conn.exists::<_, bool>(store.keys.cancelled()).await.unwrap());
    let own = store.worker("own");
    assert_eq!(store.lease(&own, 3).await, ["before", "a", "b"]);
}

#[tokio::test]
async fn concurrent_retries_queue_each_dead_letter_once() {
    const ROUNDS: usize = 10;
    const LETTERS: usize = 50;
    let mut store = Store::new().await;
    let several = [(); 4].map(|()| store.letters(0));
    let selection = all();
    let mut gone = 0;
    for _ in 0..ROUNDS {
        let () = store.conn.del((store.keys.dead(), store.keys.queue())).await.unwrap();
        store.dead_letter_many(LETTERS).await;
        // Connected before they start: they go in step then, and all read before any writes.
        for letters in &several {
            assert_eq!(listed(letters, &selection).await.len(), LETTERS);
        }
        let retries = several.iter().map(|letters| letters.retry(&selection, false));
        let reports = futures_util::future::try_join_all(retries).await.unwrap();
        let done: usize = reports.iter().map(|report| report.done.len()).sum();
        gone += reports.iter().map(|report| report.gone).sum::<u64>();
        let queued = store.queued().await;
        let distinct: std::collections::HashSet<&String> = queued.iter().collect();
        assert_eq!((done, queued.len(), distinct.len()), (LETTERS, LETTERS, LETTERS));
    }
    // At least one retry came too late: there was a race.
    assert!(gone > 0);
}

#[tokio::test]
async fn dead_letter_added_during_a_retry_is_not_retried() {
    let mut store = Store::new().await;
    store.dead_letter_many(2500).await;
    let letters = store.letters(0);
    let (selection, done) = (all(), std::cell::Cell::new(false));
    let retry = async {
        let report = letters.retry(&selection, false).await.unwrap();
        done.set(true);
        report
    };
    let dying = async {
        let mut late = 0;
        while !done.get() {
            store.dead_letter("*", "late", "timeout", envelope("late")).await;
            late += 1;
        }
        late
    };
    let (report, late) = tokio::join!(retry, dying);
    // The first of them may have come before the retry read the list.
    let met = report.done.iter().filter(|letter| letter.id == "late").count();
    assert!(late > 5 && met < 5, "{met} of {late}");
    assert_eq!((report.done.len() - met, store.entries().await.len()), (2500, late - met));
}

#[tokio::test]
async fn retry_into_a_full_queue_leaves_the_rest() {
    let mut store = Store::new().await;
    store.push_ids(&["before"]).await;
    store.dead_letter_many(4).await;
    let letters = store.letters(3);
    for dry_run in [true, false] {
        let report = letters.retry(&all(), dry_run).await.unwrap();
        let done: Vec<_> = report.done.iter().map(|letter| letter.id.as_str()).collect();
        assert_eq!((done, report.full), (vec!["x1", "x2"], true), "{dry_run}");
    }
    assert_eq!(store.queued().await.len(), 3);
    assert_eq!(store.entries().await, ["3-0", "4-0"]);
    let report = letters.retry(&all(), false).await.unwrap();
    assert!(report.done.is_empty() && report.full, "{report:?}");
}

#[tokio::test]
async fn unreadable_dead_letter_is_skipped_and_can_be_purged() {
    let mut store = Store::new().await;
    let frame = r#"{"id":"f","response_key":"k","type":"result","seq":1,"attempt":1,"data":1}"#;
    store.dead_letter("1-0", "", "invalid_request", b"\xff\x00").await;
    store.dead_letter("2-0", "f", "invalid_request", frame).await;
    store.dead_letter("3-0", "cut", "too_large", r#"{"id":"cut","name":"add","data":"xxx"#).await;
    store.dead_letter("4-0", "a", "timeout", envelope("a")).await;
    for dry_run in [true, false] {
        let report = store.letters(0).retry(&all(), dry_run).await.unwrap();
        let skipped: Vec<_> = report.skipped.iter().map(|letter| &*letter.entry).collect();
        assert_eq!((skipped, report.done.len()), (vec!["1-0", "2-0", "3-0"], 1), "{dry_run}");
        assert!(report.skipped.iter().all(|letter| !letter.reason.is_empty()), "{report:?}");
    }
    assert_eq!(store.entries().await, ["1-0", "2-0", "3-0"]);
    let report = store.letters(0).purge(&all(), false).await.unwrap();
    assert_eq!(report.done.len(), 3);
    assert_eq!(store.queued().await, [envelope("a")]);
}

#[tokio::test]
async fn dry_run_returns_the_same_without_changes() {
    let mut store = Store::new().await;
    store.dead_letter_many(1500).await;
    let letters = store.letters(0);
    let before = store.all_keys().await;
    let some = DeadSelection { limit: Some(1200), ..all() };
    let retry = letters.retry(&some, true).await.unwrap();
    let purge = letters.purge(&some, true).await.unwrap();
    assert_eq!((retry.done.len(), &purge), (1200, &retry));
    assert_eq!((store.entries().await.len(), store.all_keys().await), (1500, before));
    assert_eq!(letters.purge(&some, false).await.unwrap(), purge);
    assert_eq!(store.entries().await.len(), 300);
    assert_eq!(store.entries().await[0], "1201-0");
}

#[tokio::test]
async fn scripts_are_loaded_again_after_a_flush() {
    let mut store = Store::new().await;
    store.dead_letter_many(1).await;
    let letters = store.letters(0);
    let flush = redis::cmd("SCRIPT").arg("FLUSH").to_owned();
    let () = flush.query_async(&mut store.conn).await.unwrap();
    assert_eq!(letters.retry(&all(), false).await.unwrap().done.len(), 1);
    let () = flush.query_async(&mut store.conn).await.unwrap();
    assert!(store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap());
}

#[tokio::test]
async fn something_else_at_the_queues_key_costs_no_letter() {
    let mut store = Store::new().await;
    store.dead_letter_many(2).await;
    let () = store.conn.set(store.keys.queue(), "a string").await.unwrap();
    store.letters(0).retry(&all(), false).await.unwrap_err();
    assert_eq!(store.entries().await, ["1-0", "2-0"]);
}

#[tokio::test]
async fn pause_returns_its_start_and_notifies_workers() {
    let mut store = Store::new().await;
    store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
    assert!(!store.link.is_paused(&store.keys, TIMEOUT).await.unwrap());
    assert!(store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap());
    let since: u64 = store.conn.get(store.keys.paused()).await.unwrap();
    assert!(since.abs_diff(store.now_ms().await) < 5_000, "{since}");
    let () = store.conn.set(store.keys.paused(), "1").await.unwrap();
    assert!(!store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap());
    assert_eq!(store.conn.get::<_, String>(store.keys.paused()).await.unwrap(), "1");
    assert!(store.link.is_paused(&store.keys, TIMEOUT).await.unwrap());
    assert!(store.link.set_paused(&store.keys, false, TIMEOUT).await.unwrap());
    assert!(!store.link.set_paused(&store.keys, false, TIMEOUT).await.unwrap());
    assert!(!store.link.is_paused(&store.keys, TIMEOUT).await.unwrap());
    assert_eq!(store.received().await, ["pause", "pause", "resume", "resume"]);
    assert_eq!(store.all_keys().await, [""; 0]);
}

#[tokio::test]
async fn letter_that_cannot_be_removed_is_not_queued_a_second_time() {
    let mut store = Store::new().await;
    store.dead_letter_many(1).await;
    let forbid = redis::cmd("ACL").arg("SETUSER").arg("default").arg("-xdel").to_owned();
    let () = forbid.query_async(&mut store.conn).await.unwrap();
    store.letters(0).retry(&all(), false).await.unwrap_err();
    assert_eq!(store.queued().await, [""; 0]);
    assert_eq!(store.entries().await, ["1-0"]);
}

#[tokio::test]
async fn letter_that_cannot_be_queued_stays_a_letter() {
    let mut store = Store::new().await;
    store.dead_letter_many(1).await;
    let forbid = redis::cmd("ACL").arg("SETUSER").arg("default").arg("-rpush").to_owned();
    let () = forbid.query_async(&mut store.conn).await.unwrap();
    store.letters(0).retry(&all(), false).await.unwrap_err();
    let allow = redis::cmd("ACL").arg("SETUSER").arg("default").arg("+rpush").to_owned();
    let () = allow.query_async(&mut store.conn).await.unwrap();
    assert_eq!(store.entries().await, ["1-0"]);
    assert_eq!(store.letters(0).retry(&all(), false).await.unwrap().done.len(), 1);
    assert_eq!(store.queued().await.len(), 1);
}
