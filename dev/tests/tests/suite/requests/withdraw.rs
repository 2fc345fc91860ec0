//! Calls that are given up: they are withdrawn, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redcall_client::{Cancellation, Code, Update};
use redcall_common::context::Context;
use redcall_store::{Connection, Connector, Control, Session as _};
use redcall_testkit::eventually;
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::requests::still::Still;
use crate::support::{CANCELLED, LIVE, QUEUE, response_key, result_frame};

const CONTROL: &str = "redcall:{default}:control";

impl Still {
    /// The ids in the queue, once there are `count`.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        self.queued(count).await.iter().map(|raw| id_of(raw)).collect()
    }

    /// The ids with tombstones, and for how long those live, ms.
    async fn tombstones(&mut self) -> Vec<(String, i64)> {
        let tombs: Vec<(String, i64)> =
            self.conn.zrange_withscores(CANCELLED, 0, -1).await.unwrap();
        let now = i64::try_from(self.now_ms().await).unwrap();
        tombs.into_iter().map(|(id, until)| (id, until - now)).collect()
    }

    /// The one tombstone, once there is one: of `id`, for about `lives` seconds.
    async fn is_dead_lettered(&mut self, id: &str, lives: std::ops::Range<i64>) {
        let tombs = eventually("a tombstone", async || {
            let tombs = self.tombstones().await;
            (!tombs.is_empty()).then_some(tombs)
        })
        .await;
        assert_eq!(tombs.len(), 1, "{tombs:?}");
        assert_eq!(tombs[0].0, id);
        assert!(lives.contains(&(tombs[0].1 / 1000)), "{tombs:?}");
        let () = self.conn.del(CANCELLED).await.unwrap();
        let () = self.conn.del(QUEUE).await.unwrap();
    }

    async fn no_tombstone(&mut self) {
        self.client.flush().await;
        assert_eq!(self.tombstones().await, []);
    }
}

fn id_of(raw: &str) -> String {
    serde_json::from_str::<Value>(raw).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_wait_that_is_dropped_withdraws_its_job() {
    let mut still = Still::new().await;
    let waiting = tokio::spawn(still.request().timeout(Duration::from_secs(60)).wait());
    let id = still.ids(1).await.remove(0);
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    // The rest of its time, plus the duration of a take-over.
    still.is_dead_lettered(&id, 80..91).await;

    let client = still.client.clone();
    let waiting = tokio::spawn(async move { client.call_and_wait("add", &1).await });
    let id = still.ids(1).await.remove(0);
    waiting.abort();
    still.is_dead_lettered(&id, 40..51).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_withdraws_its_job() {
    let mut still = Still::new().await;
    let stream = still.request().stream().await.unwrap();
    let id = still.ids(1).await.remove(0);
    drop(stream);
    still.is_dead_lettered(&id, 40..51).await;
}

#[tokio::test]
async fn a_wait_that_is_over_withdraws_its_job() {
    let mut still = Still::new().await;
    // Time enough to be queued on a machine that stops processes for a moment.
    let brief = Duration::from_secs(1);
    let error = still.request().timeout(brief).wait().await.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::DeadlineExceeded, true));
    let id = still.ids(1).await.remove(0);
    still.is_dead_lettered(&id, 20..31).await;

    let mut stream = still.request().timeout(brief).stream().await.unwrap();
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let id = still.ids(1).await.remove(0);
    // While it is held on to.
    still.is_dead_lettered(&id, 20..31).await;
    assert!(stream.next().await.is_none());
    drop(stream);
    still.no_tombstone().await;
}

#[tokio::test]
async fn running_worker_is_notified_of_the_withdrawal() {
    let mut still = Still::new().await;
    let (receive, mut received) = mpsc::unbounded_channel();
    let connector = Connector::new(&still.bench.settings.redis, "worker").unwrap();
    let sink = move |_: &[u8], message: &[u8]| drop(receive.send(Control::parse(message)));
    let worker = Connection::connect(connector, Arc::new(sink)).await.unwrap();
    worker.subscribe(CONTROL, Duration::from_secs(5)).await.unwrap();
    let waiting = tokio::spawn(still.request().wait());
    let id = still.ids(1).await.remove(0);
    let () = still.conn.hset(LIVE, &id, "own").await.unwrap();
    waiting.abort();
    assert_eq!(received.recv().await.unwrap(), Some(Control::Cancel(vec![id])));
}

#[tokio::test]
async fn a_wait_that_has_ended_withdraws_nothing() {
    let mut still = Still::new().await;
    let _worker = still.bench.worker().await;
    let sum = json!({"a": 1, "b": 1});
    still.client.call_and_wait("add", &sum).await.unwrap();
    still.client.call_and_wait("fail", &1).await.unwrap_err();
    let mut stream = still.client.request("add").data(&sum).stream().await.unwrap();
    while let Some(update) = stream.next().await {
        assert!(matches!(update.unwrap(), Update::Done(_)));
    }
    drop(stream);
    let error = still.client.request("add").queue("absent").timeout(Duration::from_secs(1));
    assert_eq!(error.wait().await.unwrap_err().code(), Code::NoWorkers);
    for answer in still.client.wait_many((0..10).map(|_| still.request())).await {
        answer.unwrap_err(); // no numbers to add
    }
    still.no_tombstone().await;
    assert!(!still.conn.exists::<_, bool>("redcall:{absent}:cancelled").await.unwrap());
}

#[tokio::test]
async fn last_moment_answer_is_taken_without_a_withdrawal() {
    let mut still = Still::new().await;
    // Before it reads an unannounced answer, after a second.
    let waiting = tokio::spawn(still.request().timeout(Duration::from_millis(950)).wait());
    let id = still.ids(1).await.remove(0);
    // Without a word of it on the channel.
    let () = still.conn.rpush(response_key(&id), result_frame(&id, "3")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().data.get(), "3");
    still.no_tombstone().await;
}

#[tokio::test]
async fn fire_and_forget_and_fetched_jobs_continue() {
    let mut still = Still::new().await;
    still.request().send().await.unwrap();
    let ticket = still.request().submit().await.unwrap();
    let fetch = still.client.fetch_timeout(&ticket.response_key, Duration::from_secs(1));
    assert_eq!(fetch.await.unwrap_err().code(), Code::DeadlineExceeded);
    tokio::time::timeout(Duration::from_millis(20), ticket.wait()).await.unwrap_err();
    drop(ticket);
    still.no_tombstone().await;
    assert_eq!(still.ids(2).await.len(), 2);
}

#[tokio::test]
async fn a_thousand_waits_that_are_dropped_leave_nothing_behind() {
    let mut still = Still::new().await;
    let client = still.client.clone();
    let all = tokio::spawn(async move {
        client.wait_many((0..1000).map(|_| client.request("add").data(&1))).await
    });
    let ids = still.ids(1000).await;
    all.abort();
    assert!(all.await.unwrap_err().is_cancelled());
    still.client.flush().await;
    let ids: HashSet<String> = ids.into_iter().collect();
    // A flush waits for half a second at most.
    eventually("each to be withdrawn", async || {
        let tombs: HashSet<String> =
            still.tombstones().await.into_iter().map(|(id, _)| id).collect();
        (tombs == ids).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_last_client_writes_its_withdrawals_before_it_goes() {
    let mut still = Still::new().await;
    let client = still.bench.client().await;
    let requests = (0..100).map(|_| client.request("add").data(&1));
    let waits: Vec<_> = requests.map(|request| tokio::spawn(request.wait())).collect();
    drop(client);
    still.ids(100).await;
    waits.iter().for_each(|wait| wait.abort());
    eventually("all to be withdrawn", async || {
        (still.tombstones().await.len() == 100).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_outlives_the_connection_that_it_found_broken() {
    let mut still = Still::new().await;
    let waiting = tokio::spawn(still.request().wait());
    let id = still.ids(1).await.remove(0);
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    let kill_subscribed = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").to_owned();
    let _: u64 = kill_subscribed.query_async(&mut still.conn).await.unwrap();
    let _: u64 = kill.query_async(&mut still.conn).await.unwrap();
    waiting.abort();
    still.is_dead_lettered(&id, 40..51).await;
}

#[tokio::test]
async fn requests_are_cancelled_by_id() {
    let mut still = Still::new().await;
    let id = still.request().send().await.unwrap().id;
    assert_eq!(still.client.cancel_in("default", &id).await.unwrap(), Cancellation::Unseen);
    still.is_dead_lettered(&id, 86_390..86_401).await;
    let () = still.conn.hset(LIVE, &id, "own").await.unwrap();
    assert_eq!(still.client.cancel_in("default", &id).await.unwrap(), Cancellation::Running);
    let other = still.request().queue("other").send().await.unwrap().id;
    assert_eq!(still.client.cancel(&id).await.unwrap(), Cancellation::Running);
    assert_eq!(still.client.cancel(&other).await.unwrap(), Cancellation::Unseen);
    let delayed = still.request().queue("other").delay(Duration::from_secs(60));
    let delayed = delayed.send().await.unwrap().id;
    assert_eq!(still.client.cancel(&delayed).await.unwrap(), Cancellation::Delayed);
    let error = still.client.cancel("two words").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
    let error = still.client.cancel_in("a:b", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
}

#[tokio::test]
async fn a_ticket_is_cancelled_for_as_long_as_its_request_may_wait() {
    let mut still = Still::new().await;
    let ticket = still.request().submit().await.unwrap();
    assert_eq!(ticket.cancel().await.unwrap(), Cancellation::Unseen);
    still.is_dead_lettered(&ticket.id, 86_390..86_401).await;
    let ticket = still.request().timeout(Duration::from_secs(60)).submit().await.unwrap();
    assert_eq!(ticket.cancel().await.unwrap(), Cancellation::Unseen);
    still.is_dead_lettered(&ticket.id, 80..91).await;
}

#[tokio::test]
async fn call_inside_a_handler_inherits_its_remaining_time() {
    let mut still = Still::new().await;
    let deadline = Some(Instant::now() + Duration::from_secs(10));
    let context = Context { deadline, ..Context::default() };
    let waiting = tokio::spawn(context.clone().scope(still.request().wait()));
    let inside = async {
        let _sent = still.request().send().await.unwrap();
        still.request().timeout(Duration::from_secs(5)).stream().await.unwrap()
    };
    let _stream = context.scope(inside).await;
    still.ids(3).await;
    let raws: Vec<String> = still.conn.lrange(QUEUE, 0, -1).await.unwrap();
    let budgets = raws.iter().map(|raw| serde_json::from_str::<Value>(raw).unwrap());
    let mut budgets: Vec<Option<u64>> =
        budgets.map(|envelope| envelope["budget_ms"].as_u64()).collect();
    budgets.sort_unstable();
    assert_eq!(budgets[..2], [None, Some(5000)]);
    assert!((8000..=10_000).contains(&budgets[2].unwrap()), "{budgets:?}");
    waiting.abort();
}

#[tokio::test]
async fn a_call_inside_a_handler_without_time_or_use_is_not_sent() {
    let mut still = Still::new().await;
    let over = Context { deadline: Some(Instant::now()), ..Context::default() };
    let unwanted = Context::default();
    unwanted.cancel.cancel();
    for (context, code) in [(over, Code::DeadlineExceeded), (unwanted, Code::Cancelled)] {
        let errors = context.scope(async {
            let many = still.client.wait_many([still.request()]).await.remove(0);
            [
                still.request().wait().await.unwrap_err(),
                still.request().send().await.unwrap_err(),
                still.request().submit().await.err().unwrap(),
                still.request().stream().await.err().unwrap(),
                many.unwrap_err(),
            ]
        });
        for error in errors.await {
            assert_eq!((error.code(), error.may_be_queued()), (code, false));
        }
    }
    assert_eq!(still.conn.llen::<_, usize>(QUEUE).await.unwrap(), 0);
    still.no_tombstone().await;
}

#[tokio::test]
async fn a_call_inside_a_handler_is_cancelled_with_it() {
    let mut still = Still::new().await;
    let context = Context::default();
    let waiting = tokio::spawn(context.clone().scope(still.request().wait()));
    let id = still.ids(1).await.remove(0);
    context.cancel.cancel();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Cancelled, true));
    still.is_dead_lettered(&id, 40..51).await;

    let context = Context::default();
    let request = still.request();
    let following = tokio::spawn(context.clone().scope(async move {
        let mut stream = request.stream().await.unwrap();
        let last = stream.next().await.unwrap();
        (last, stream.next().await.is_none())
    }));
    let id = still.ids(1).await.remove(0);
    context.cancel.cancel();
    let (last, ended) = following.await.unwrap();
    assert_eq!((last.unwrap_err().code(), ended), (Code::Cancelled, true));
    still.is_dead_lettered(&id, 40..51).await;

    // A fetch ends; the job does not.
    let ticket = still.request().submit().await.unwrap();
    let context = Context::default();
    let fetching = context.clone().scope(ticket.wait());
    let (fetched, ()) = tokio::join!(fetching, async { context.cancel.cancel() });
    assert_eq!(fetched.unwrap_err().code(), Code::Cancelled);
    still.no_tombstone().await;
}
