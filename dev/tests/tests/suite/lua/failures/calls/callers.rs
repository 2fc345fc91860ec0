//! Operations of callers, and settlements with a token.

use redcall_store::{
    AnswerOps as _, CancelRequest, EnqueueExt, EnqueueExtResult, Idempotency, Item, SendOps as _,
    StatusTracking, StoreError,
};

use super::super::fill::State::{Full, Plain};
use super::super::fill::{FAR, reply};
use super::super::world::{Party, World};
use super::{Case, case};
use crate::lua::enqueue_ext::extended;
use crate::lua::{TIMEOUT, envelope};

async fn enqueue(world: &World, party: &Party, cap: u64, live: bool) -> Result<(), StoreError> {
    let item = |id, waited| Item { waited, envelope: envelope(id) };
    let items = [item("o1", live), item("o2", false), item("o3", live)];
    party.link.enqueue(&world.keys, cap, &items, &[], TIMEOUT).await.map(drop)
}

fn submission(world: &World, id: &str) -> EnqueueExt {
    EnqueueExt {
        waited: true,
        reply: Some(reply(&world.keys, id)),
        pending: Some(r#"{"type":"pending"}"#.to_owned()),
        tracking: Some(StatusTracking { pending_ms: 60_000, kept_ms: 60_000 }),
        ..extended(id)
    }
}

fn keyed(world: &World, id: &str, call: &str) -> EnqueueExt {
    let (record, digest) = (world.keys.idem(call), "data".to_owned());
    let idempotency = Some(Idempotency { record, digest, deadline_ms: 0 });
    EnqueueExt { idempotency, ..submission(world, id) }
}

async fn enqueue_ext(
    world: &World,
    party: &Party,
    cap: u64,
    extended: EnqueueExt,
) -> Result<(), StoreError> {
    let results =
        party.link.enqueue_ext(&world.keys, cap, &[extended], TIMEOUT).await?.remove(0)?;
    let is_enqueued = matches!(
        results,
        EnqueueExtResult::Queued
            | EnqueueExtResult::Deduplicated(_)
            | EnqueueExtResult::Replayed(_)
    );
    assert!(is_enqueued, "{results:?}");
    Ok(())
}

async fn cancel(
    world: &World,
    party: &Party,
    ids: &[&str],
    call: Option<&str>,
) -> Result<(), StoreError> {
    let record = call.map(|call| world.keys.idem(call));
    let withdrawn =
        |id: &&str| CancelRequest { id: (*id).to_owned(), ttl_ms: 600_000, record: record.clone() };
    let withdrawn: Vec<_> = ids.iter().map(withdrawn).collect();
    party.link.cancel(&world.keys, &withdrawn, TIMEOUT).await.map(drop)
}

async fn settle(
    world: &World,
    party: &Party,
    id: &str,
    error: Option<(&str, &str)>,
) -> Result<(), StoreError> {
    let token = format!("token-{id}");
    let tail = r#","type":"result","seq":1,"attempt":1,"data":"settled"}"#;
    let (of, end) = ((id, token.as_str(), "by"), (tail, error, true));
    party.link.settle_deferred(&world.keys, of, end, TIMEOUT).await.map(drop)
}

pub(super) const CASES: &[Case] = &[
    case("enqueue", "enqueue", Plain, |world, party, _| Box::pin(enqueue(world, party, 0, true)))
        .offers(&["o1", "o2", "o3"]),
    case("enqueue", "enqueue, fire and forget", Plain, |world, party, _| {
        Box::pin(enqueue(world, party, 0, false))
    })
    .offers(&["o1", "o2", "o3"]),
    case("enqueue", "enqueue, with a longest length", Full, |world, party, _| {
        Box::pin(enqueue(world, party, 1000, true))
    })
    .offers(&["o1", "o2", "o3"]),
    case("enqueue_ext", "enqueue_ext", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 0, extended("o1")))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, with a longest length", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 1000, extended("o1")))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, submitted", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 0, submission(world, "o1")))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, for later", Full, |world, party, _| {
        let due_ms = FAR.parse().unwrap();
        Box::pin(enqueue_ext(world, party, 0, EnqueueExt { due_ms, ..submission(world, "o1") }))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, the first to be due", Plain, |world, party, _| {
        let due_ms = FAR.parse().unwrap();
        Box::pin(enqueue_ext(world, party, 0, EnqueueExt { due_ms, ..submission(world, "o1") }))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, begins a call", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 0, keyed(world, "o1", "new")))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, joins a call", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 0, keyed(world, "o1", "running")))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, gets a kept end", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 0, keyed(world, "o1", "ended")))
    })
    .offers(&["o1"]),
    case("enqueue_ext", "enqueue_ext, begins a cancelled call again", Full, |world, party, _| {
        Box::pin(enqueue_ext(world, party, 0, keyed(world, "o1", "begun")))
    })
    .offers(&["o1"]),
    case("cancel", "cancel, of each kind", Full, |world, party, _| {
        Box::pin(cancel(world, party, &["s2", "l1", "q1", "x1", "x3"], None))
    }),
    case("cancel", "cancel, scheduled", Full, |world, party, _| {
        Box::pin(cancel(world, party, &["s2"], None))
    }),
    case("cancel", "cancel, the only caller", Full, |world, party, _| {
        Box::pin(cancel(world, party, &["s2"], Some("alone")))
    }),
    case("cancel", "cancel, of a caller that has joined", Full, |world, party, _| {
        Box::pin(cancel(world, party, &["w1"], Some("running")))
    })
    .vanish(&["w1"]),
    case("cancel", "cancel, deferred", Full, |world, party, _| {
        Box::pin(cancel(world, party, &["x1"], None))
    }),
    case("settle", "settle", Full, |world, party, _| Box::pin(settle(world, party, "x1", None))),
    case("settle", "settle, with an error", Full, |world, party, _| {
        Box::pin(settle(world, party, "x1", Some(("internal", "why"))))
    }),
    case("settle", "settle, a call", Full, |world, party, _| {
        Box::pin(settle(world, party, "x3", None))
    }),
    case("settle", "settle, too late", Full, |world, party, _| {
        Box::pin(settle(world, party, "x2", None))
    }),
];
