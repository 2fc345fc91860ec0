//! Scripts that read the first or last element of a response key: its size is not theirs to
//! choose, and Redis needs 2 ms to read a MiB into a script.

use redcall_client::Code;
use redcall_common::digest;
use redcall_store::{
    AnswerOps as _, EndedCall, EnqueueExt, EnqueueExtResult, Idempotency, Outcome, Pushed,
    RunOps as _, SendOps as _, Settled, Settlement,
};
use redis::AsyncCommands;

use crate::lua::{LONG, MIB, Store, TIMEOUT, envelope, outcome};
use crate::support::carried_out;

/// Reads by a script that may be of any size.
async fn reads(store: &mut Store) -> u64 {
    carried_out(&mut store.conn, "lindex").await + carried_out(&mut store.conn, "lpop").await
}

fn large() -> String {
    "x".repeat(20 * MIB as usize)
}

#[tokio::test]
async fn frame_behind_a_large_element_is_pushed_without_reading_it() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let () = store.conn.rpush(store.keys.response("a"), large()).await.unwrap();
    let (reply, before) = (store.reply("a"), reads(&mut store).await);
    // The second one is sent again, because a reply was lost.
    for _ in 0..2 {
        let pushing = store.link.push_frame(&own.leases, "a", &reply, "one", 10, TIMEOUT);
        assert_eq!(pushing.await.unwrap(), Pushed::Yes);
    }
    assert_eq!(reads(&mut store).await, before);
    let length: usize = store.conn.llen(store.keys.response("a")).await.unwrap();
    assert_eq!(length, 2);
}

#[tokio::test]
async fn replay_behind_a_large_element_is_pushed_without_reading_it() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let record = store.keys.idem(&digest::of_call("add", "k", None));
    let call = |store: &Store, id: &str| {
        let (record, digest) = (record.clone(), digest::of_data("1"));
        let idempotency = Some(Idempotency { record, digest, deadline_ms: 0 });
        EnqueueExt {
            tracking: None,
            waited: false,
            id: id.to_owned(),
            envelope: envelope(id),
            due_ms: 0,
            reply: Some(store.reply(id)),
            pending: None,
            idempotency,
        }
    };
    let enqueue_ext = async |store: &Store, id: &str| {
        let calls = [call(store, id)];
        store.link.enqueue_ext(&store.keys, 0, &calls, TIMEOUT).await.unwrap().remove(0).unwrap()
    };
    assert_eq!(enqueue_ext(&store, "a").await, EnqueueExtResult::Queued);
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let frame = format!(
        r#"{{"id":"a","response_key":"{}","type":"result","seq":1,"attempt":1,"data":1}}"#,
        store.keys.response("a")
    );
    let ended = Outcome {
        call: Some(EndedCall {
            digest: digest::of_call("add", "k", None),
            keep: Some(LONG),
            frame: frame.clone(),
        }),
        ..store.answer("a", &frame)
    };
    assert_eq!(store.poll(&own, 0, &[ended]).await.settled, [Settled::Yes]);
    let () = store.conn.rpush(store.keys.response("b"), large()).await.unwrap();
    let before = reads(&mut store).await;
    for _ in 0..2 {
        assert_eq!(enqueue_ext(&store, "b").await, EnqueueExtResult::Replayed("a".to_owned()));
    }
    assert_eq!(reads(&mut store).await, before);
    let length: usize = store.conn.llen(store.keys.response("b")).await.unwrap();
    assert_eq!(length, 2);
}

#[tokio::test]
async fn refused_request_reads_a_bounded_end_of_its_response_key() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let ids = ["a", "b", "c", "d", "e", "f"];
    store.push_ids(&ids).await;
    assert_eq!(store.lease(&own, 6).await, ids);
    let refuse = |store: &Store, id: &str| {
        let answer = Some((store.reply(id), r#"{"refused":1}"#.to_owned()));
        let (code, reason) = (Code::DeadlineExceeded, "late".to_owned());
        outcome(id, Settlement::Refuse { code, reason, answer, dead_letter: false })
    };
    // Too large to be read: it counts as an answer. A few smaller ones are read.
    let () = store.conn.rpush(store.keys.response("a"), large()).await.unwrap();
    for id in &ids[1..] {
        let element = "x".repeat(3 * MIB as usize / 2);
        let () = store.conn.rpush(store.keys.response(id), element).await.unwrap();
    }
    let before = reads(&mut store).await;
    let outcomes = ids.map(|id| refuse(&store, id));
    assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::Yes; 6]);
    let reads_done = reads(&mut store).await - before;
    assert!((1..=2).contains(&reads_done), "{reads_done} elements read");
    let length: usize = store.conn.llen(store.keys.response("a")).await.unwrap();
    assert_eq!(length, 1);
    assert!(store.dead().await.iter().any(|letter| letter[0] == "a"));
}

#[tokio::test]
async fn trim_reads_no_large_first_element() {
    let mut store = Store::new().await;
    let key = store.keys.response("a");
    let frame = |seq: u64| {
        format!(
            r#"{{"id":"a","response_key":"{key}","type":"chunk","seq":{seq},"attempt":1,"data":1}}"#
        )
    };
    let () = store.conn.rpush(&key, &[large(), frame(1), frame(2), frame(3)]).await.unwrap();
    let before = reads(&mut store).await;
    assert_eq!(store.link.trim(&key, (1, 2), 0, TIMEOUT).await.unwrap(), None);
    assert_eq!(reads(&mut store).await, before);
    let left: usize = store.conn.llen(&key).await.unwrap();
    assert_eq!(left, 4);
}

#[tokio::test]
async fn large_stream_of_frames_is_trimmed() {
    let mut store = Store::new().await;
    let key = store.keys.response("a");
    let text = "x".repeat(MIB as usize);
    let frame = |seq: u64| {
        let head = format!(r#"{{"id":"a","response_key":"{key}","type":"chunk","#);
        head + &format!(r#""seq":{seq},"attempt":1,"data":"{text}"}}"#)
    };
    for seq in 1..=20 {
        let () = store.conn.rpush(&key, frame(seq)).await.unwrap();
    }
    for (seq, left) in [(3, 18), (15, 6), (20, 1)] {
        assert_eq!(store.link.trim(&key, (1, seq), 0, TIMEOUT).await.unwrap(), Some((1, seq)));
        let length: usize = store.conn.llen(&key).await.unwrap();
        assert_eq!(length, left);
    }
}
