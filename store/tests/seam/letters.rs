//! Dead letters over the seam: listed, shown, retried and purged, at Redis and in memory.

use std::sync::Arc;

use redcall_common::error::Code;
use redcall_common::keys::Keys;
use redcall_common::settings::RedisSettings;
use redcall_store::dead::{DeadLetters, DeadRef, DeadSelection};
use redcall_store::embedded::{Embedded, EmbeddedOptions};
use redcall_store::inspect::Inspector;
use redcall_store::{
    Connection, Connector, InspectOps, Outcome, PollOps, QueuePoll, SendOps, Session, Settled,
    Settlement, UpkeepOps, WorkerKeys,
};

use super::inspector::MemoryInspector;
use super::memory::{Hub, MemoryBroker};
use super::{LEASE, TIMEOUT, enqueue, keys, register};

/// Leases up to `take` requests; their ids.
async fn lease<B: PollOps>(worker: &B, own: &WorkerKeys, take: usize) -> Vec<String> {
    let reply = worker.poll(&[QueuePoll::take(own, take)], TIMEOUT).await.unwrap().remove(0);
    reply.unwrap().leased.into_iter().map(|leased| leased.id).collect()
}

/// Dead-letters these leased requests.
async fn dead_letter<B: PollOps>(worker: &B, own: &WorkerKeys, ids: &[&str]) {
    let outcome = |id: &&str| {
        let reason = "on purpose".to_owned();
        Outcome::new(
            *id,
            Settlement::DeadLetter { code: Code::HandlerFailed, reason, answer: None },
        )
    };
    let outcomes: Vec<Outcome> = ids.iter().map(outcome).collect();
    let poll = QueuePoll { outcomes: &outcomes, serial: 1, ..QueuePoll::take(own, 0) };
    let reply = worker.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    assert!(reply.settled.iter().all(|settled| *settled == Settled::Yes), "{:?}", reply.settled);
}

fn ids(letters: &[DeadRef]) -> Vec<&str> {
    letters.iter().map(|letter| letter.id.as_str()).collect()
}

async fn letters_are_retried_and_purged<B, I>(opener: B::Opener, inspect: I)
where
    B: Session + SendOps + PollOps + UpkeepOps,
    I: InspectOps,
{
    let worker = B::connect(opener, Arc::new(|_: &[u8], _: &[u8]| {})).await.unwrap();
    register(&worker).await;
    let own = Arc::new(WorkerKeys::new(keys(), "own", 100, LEASE));
    for id in ["a", "b", "c"] {
        enqueue(&worker, id).await;
    }
    assert_eq!(lease(&worker, &own, 3).await, ["a", "b", "c"]);
    dead_letter(&worker, &own, &["a", "b", "c"]).await;
    let queue = inspect.queue("q").await.unwrap();
    assert_eq!((queue.length, queue.dead), (0, 3));

    let (all, dead) = (DeadSelection::default(), DeadLetters::new(inspect.clone(), keys(), 1));
    let newest = DeadSelection { newest_first: true, limit: Some(2), ..DeadSelection::default() };
    let page = dead.list(&newest).await.unwrap();
    assert_eq!(page.letters.iter().map(|letter| &*letter.id).collect::<Vec<_>>(), ["c", "b"]);
    let rest = DeadSelection { after: page.next, ..newest };
    assert_eq!(dead.list(&rest).await.unwrap().letters[0].id, "a");
    let shown = dead.show("b").await.unwrap().unwrap();
    assert_eq!((&*shown.code, &*shown.reason), ("handler_failed", "on purpose"));

    // One fits into the queue.
    for dry_run in [true, false] {
        let report = dead.retry(&all, dry_run).await.unwrap();
        assert_eq!((ids(&report.done), report.full), (vec!["a"], true), "dry run: {dry_run}");
    }
    let queue = inspect.queue("q").await.unwrap();
    assert_eq!((queue.length, queue.dead), (1, 2));
    assert_eq!(lease(&worker, &own, 3).await, ["a"]);

    let one = DeadSelection { ids: vec!["b".to_owned(), "gone".to_owned()], ..all.clone() };
    let report = dead.purge(&one, false).await.unwrap();
    assert_eq!((ids(&report.done), report.unknown), (vec!["b"], vec!["gone".to_owned()]));
    assert_eq!(ids(&dead.purge(&all, false).await.unwrap().done), ["c"]);
    assert_eq!(inspect.queue("q").await.unwrap().dead, 0);
}

#[tokio::test]
async fn letters_are_retried_and_purged_in_memory() {
    let hub = Hub::default();
    letters_are_retried_and_purged::<MemoryBroker, _>(hub.clone(), MemoryInspector(hub)).await;
}

#[tokio::test]
async fn letters_are_retried_and_purged_at_redis() {
    let server = Embedded::start(EmbeddedOptions::default()).await.unwrap();
    let settings = RedisSettings { url: server.url(), ..RedisSettings::default() };
    let opener = Connector::new(&settings, "seam").unwrap();
    let inspect = Inspector::new(&opener, Keys::new("redcall"));
    letters_are_retried_and_purged::<Connection, _>(opener, inspect).await;
}
