//! Requests that are gathered for one write.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::json;

use super::*;

/// Polls once; returns `true` if it ended.
async fn ends_at_once(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

#[tokio::test]
async fn calls_of_callers_that_are_woken_together_leave_in_one_command() {
    let mut setup = Setup::new(0).await;
    let before = setup.executed("rpush").await;
    assert!(setup.shared().cork());
    assert!(!setup.shared().cork(), "another one ends it");
    let mut pushed: Vec<Confirmed> = ["a", "b"].map(|envelope| setup.push(envelope)).into();
    setup.shared().uncork();
    // Those of one caller, too.
    let (requests, confirmed): (Vec<_>, Vec<_>) =
        ["c", "d"].map(|one| setup.forgotten(one)).into_iter().unzip();
    assert!(setup.client.inner.direct.push(requests, setup.now_ms()).is_empty());
    pushed.extend(confirmed);
    for confirmed in pushed {
        assert_eq!(ended(confirmed).await.unwrap(), None);
    }
    assert_eq!(setup.queued().await, ["a", "b", "c", "d"]);
    assert_eq!(setup.executed("rpush").await - before, 2);
}

/// Announces the answers of `count` callers at once; each of them writes its next request. Returns
/// the number of commands.
async fn commands_after_answers(count: usize) -> usize {
    let mut setup = Setup::new(0).await;
    let inner = setup.client.inner.clone();
    inner.prepare(&setup.route, true, Instant::now() + LIMIT).await.unwrap_or_else(|_| panic!());
    let before = setup.executed("rpush").await;
    let mut frames = Vec::new();
    let callers = (0..count).map(|number| {
        let id = number.to_string();
        frames.push(json!({
            "v": 1, "id": id, "type": "result", "seq": 1, "attempt": 1, "data": number
        }));
        let (guard, answer) = inner.in_flight.wait_for(&id, "key", Stage::Sent, None);
        let (next, confirmed) = setup.forgotten(&id);
        let client = setup.client.clone();
        let (parked, is_parked) = oneshot::channel();
        let caller = tokio::spawn(async move {
            parked.send(()).unwrap();
            ended(answer).await.unwrap();
            let now_ms = client.inner.link.now_ms();
            assert!(client.inner.direct.push(vec![next], now_ms).is_empty());
            ended(confirmed).await.unwrap();
            drop(guard);
        });
        (caller, is_parked)
    });
    let (callers, parked): (Vec<_>, Vec<_>) = callers.unzip();
    for is_parked in parked {
        ended(is_parked).await;
    }
    let frames = serde_json::Value::Array(frames).to_string();
    let publish = redis::cmd("SPUBLISH").arg(&setup.route.notify).arg(frames).to_owned();
    let () = publish.query_async(&mut setup.conn).await.unwrap();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(setup.queued().await.len(), count);
    setup.executed("rpush").await - before
}

#[tokio::test]
async fn answers_that_come_together_cause_one_command() {
    assert_eq!(commands_after_answers(20).await, 1);
    // They are delivered by hundreds, and the runtime runs 61 tasks between two looks at sockets.
    let commands = commands_after_answers(250).await;
    assert!((3..=6).contains(&commands), "{commands} commands for 250 requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_together_cause_few_commands() {
    let commands = commands_after_answers(100).await;
    assert!(commands <= 20, "{commands} commands for 100 requests");
}

#[tokio::test]
async fn requests_of_another_queue_leave_in_a_command_of_their_own() {
    let mut setup = Setup::new(0).await;
    assert!(setup.shared().cork());
    let first = setup.push("a");
    let (mut other, confirmed) = setup.forgotten("b");
    other.route = HandedIn::new(setup.client.inner.route("other"));
    assert!(setup.is_written(other));
    ended(first).await.unwrap();
    setup.shared().uncork();
    ended(confirmed).await.unwrap();
    assert_eq!(setup.queued().await, ["a"]);
    let other: Vec<String> = setup.conn.lrange("redcall:{other}:queue", 0, -1).await.unwrap();
    assert_eq!(other, ["b"]);
}

/// Without anything that ends the cork.
#[tokio::test]
async fn gathered_requests_are_written_within_bounded_time() {
    let setup = Setup::new(0).await;
    assert!(setup.shared().cork());
    ended(setup.push("a")).await.unwrap();
}

#[tokio::test]
async fn requests_behind_unanswered_writes_leave_in_one_command() {
    let mut setup = Setup::new(0).await;
    let before = setup.executed("rpush").await;
    let held = setup.proxy.hold_reply(|exchange| exchange.request_contains("RPUSH"));
    let mut pushed = vec![setup.push("0")];
    let held = held.await;
    pushed.extend((1..20).map(|number| setup.push(&number.to_string())));
    held.release();
    for confirmed in pushed {
        ended(confirmed).await.unwrap();
    }
    let numbers: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(setup.queued().await, numbers);
    assert_eq!(setup.executed("rpush").await - before, WRITES_MAX + 1);
}

#[tokio::test]
async fn abandoned_request_is_not_written() {
    let mut setup = Setup::new(0).await;
    assert!(setup.shared().cork());
    let (waited, answer) = setup.waited("waited");
    assert!(setup.is_written(waited));
    let (claimed, _confirmed) = setup.forgotten("forgotten");
    let Caller::Forgets { send_claim, .. } = &claimed.caller else { unreachable!() };
    let send_claim = send_claim.clone();
    assert!(setup.is_written(claimed));
    let last = setup.push("last");
    drop(answer);
    assert!(send_claim.give_up(), "it is not written yet");
    setup.shared().uncork();
    ended(last).await.unwrap();
    assert_eq!(setup.queued().await, ["last"]);
}

#[tokio::test]
async fn connection_that_is_lost_loses_only_what_was_written() {
    let mut setup = Setup::new(0).await;
    let held = setup.proxy.hold_reply(|exchange| exchange.request_contains("RPUSH"));
    let written: Vec<Confirmed> = (0..WRITES_MAX).map(|n| setup.push(&n.to_string())).collect();
    let gathered = setup.push("gathered");
    held.await.lose();
    for confirmed in written {
        assert!(ended(confirmed).await.unwrap_err().may_be_queued());
    }
    // The sender writes it.
    ended(gathered).await.unwrap();
    let queued = setup.queued().await;
    assert_eq!(queued.iter().filter(|one| *one == "gathered").count(), 1, "{queued:?}");
}

#[tokio::test]
async fn refused_requests_of_a_write_do_not_affect_the_others() {
    let mut setup = Setup::new(3).await;
    let () = setup.conn.rpush(QUEUE, &["x"]).await.unwrap();
    let pushed = ["a", "b", "c", "d"].map(|envelope| setup.forgotten(envelope));
    let (requests, confirmed): (Vec<_>, Vec<_>) = pushed.into_iter().unzip();
    assert!(setup.client.inner.direct.push(requests, setup.now_ms()).is_empty());
    let mut results = Vec::new();
    for confirmed in confirmed {
        results.push(ended(confirmed).await.map_err(|error| (error.code(), error.may_be_queued())));
    }
    let full = Err((Code::Overloaded, false));
    assert_eq!(results, [Ok(None), Ok(None), full.clone(), full]);
    assert_eq!(setup.queued().await, ["x", "a", "b"]);
}

/// Callers that write on and on do not hold back the sender.
#[tokio::test]
async fn sender_waits_only_for_earlier_writes() {
    let setup = Setup::new(0).await;
    let held = setup.proxy.hold_reply(|exchange| exchange.request_contains("earlier"));
    let later = setup.proxy.hold_reply(|exchange| exchange.request_contains("later"));
    let earlier = setup.push("earlier");
    let held = held.await;
    let mut answered = pin!(setup.shared().answered("q"));
    assert!(!ends_at_once(answered.as_mut()).await);
    let _pushed = setup.push("later");
    assert!(ends_at_once(setup.shared().answered("other")).await);
    held.release();
    ended(earlier).await.unwrap();
    let later = later.await;
    timeout(LIMIT, answered).await.unwrap();
    drop(later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_of_many_callers_are_each_queued_once_and_in_order() {
    const CALLERS: usize = 64;
    const EACH: usize = 50;
    let mut setup = Setup::new(0).await;
    let client = &setup.client;
    let caller = |caller: usize| {
        let (client, route) = (client.clone(), setup.route.clone());
        tokio::spawn(async move {
            for number in 0..EACH {
                let (done, confirmed) = oneshot::channel();
                let route = HandedIn::new(route.clone());
                let payload = Payload::Push(format!("{caller}/{number:02}"));
                let caller = Caller::Forgets { done, send_claim: SendClaim::default() };
                let outgoing = Outgoing { route, payload, caller };
                let now_ms = client.inner.link.now_ms();
                let mut left = client.inner.direct.push(vec![outgoing], now_ms);
                if !left.is_empty() {
                    left.iter_mut().for_each(Outgoing::hand_in);
                    assert!(client.inner.commands.send(Command::Enqueue(left)).await.is_ok());
                }
                ended(confirmed).await.unwrap();
            }
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let queued = setup.queued().await;
    assert_eq!(queued.len(), CALLERS * EACH);
    for caller in 0..CALLERS {
        let own = queued.iter().filter(|one| one.starts_with(&format!("{caller}/")));
        assert!(own.is_sorted_by(|a, b| a < b), "{caller}");
    }
}
