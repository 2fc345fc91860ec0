//! Waits under strain: large answers, shared answers, callers that withdraw, a stalled Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redcall_client::{Client, Code, Update};
use redcall_testkit::{TestRedis, eventually};
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Json, Request, State};
use redis::aio::MultiplexedConnection;
use tokio::sync::{Barrier, Notify};
use tokio::time::timeout;

use crate::support::held::Held;
use crate::support::{Stopped, UNTIMED, carried_out};

/// Longer than any call of these tests with a stopped Redis may last, on a machine that stops other
/// processes as well for a moment. Shorter than the five seconds for which a connection is tried.
const IN_TIME: Duration = Duration::from_secs(4);

/// How many connections Redis has accepted.
async fn connections_made(conn: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(conn).await.unwrap();
    let made = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    made.unwrap().parse().unwrap()
}

/// The connections of a client and of a worker that is idle: its lane, and its pops. The lane may
/// be opened again a few times: a machine that stops the worker for a moment blocks its task.
const MADE: u64 = 9;

/// How many connections are made while `count` answers of `size` bytes, which come all at once, are
/// waited for, and while as many are fetched.
async fn connections_made_for(redis: TestRedis, count: usize, size: usize) -> u64 {
    async fn big(together: State<Arc<Barrier>>, Json(size): Json<usize>) -> Json<String> {
        together.wait().await;
        Json("x".repeat(size))
    }
    let mut bench = Bench::on(redis);
    bench.settings.client.timeout = UNTIMED;
    bench.settings.worker.concurrency = count;
    let together = Arc::new(Barrier::new(count));
    let _worker = bench.worker_with(|worker| worker.state(together).handler("big", big)).await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let before = connections_made(&mut conn).await;
    let answers = client.wait_many((0..count).map(|_| client.request("big").data(&size))).await;
    for answer in answers {
        assert_eq!(answer.unwrap().json::<String>().unwrap().len(), size);
    }
    let submits = (0..count).map(|_| client.request("big").data(&size).submit());
    let tickets = join_all(submits).await.into_iter().map(Result::unwrap);
    let keys: Vec<String> = tickets.map(|ticket| ticket.response_key).collect();
    for key in &keys {
        eventually("the answer", async || {
            let frames = redis::cmd("LLEN").arg(key).to_owned();
            let frames: u64 = frames.query_async(&mut conn).await.unwrap();
            (frames == 2).then_some(())
        })
        .await;
    }
    for answer in join_all(keys.iter().map(|key| client.fetch(key))).await {
        assert_eq!(answer.unwrap().json::<String>().unwrap().len(), size);
    }
    connections_made(&mut conn).await - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_seven_megabytes_do_not_break_the_connection() {
    let made = connections_made_for(TestRedis::start().await, 8, 7 << 20).await;
    assert!(made <= MADE, "{made} connections were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_answers_do_not_break_the_connection() {
    // The default soft limit, 8 MB over 60 s, as a hard one: the test should not last a minute.
    let limit = ["--client-output-buffer-limit", "pubsub 8mb 8mb 60"];
    let made = connections_made_for(TestRedis::start_with(limit).await, 200, 100 << 10).await;
    assert!(made <= MADE, "{made} connections were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_large_frames_does_not_break_the_connection() {
    async fn large(request: Request) -> Result<Json<()>, HandlerError> {
        for _ in 0..100 {
            request.progress(&"x".repeat(900 << 10)).await?;
        }
        Ok(Json(()))
    }
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker| worker.handler("large", large)).await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let before = connections_made(&mut conn).await;
    let mut stream = client.request("large").timeout(UNTIMED).stream().await.unwrap();
    let mut seen = 0;
    while let Some(update) = stream.next().await {
        seen += u32::from(matches!(update.unwrap(), Update::Progress(_)));
    }
    assert_eq!(seen, 100);
    let made = connections_made(&mut conn).await - before;
    assert!(made <= MADE, "{made} connections were made");
}

#[tokio::test]
async fn fetches_of_one_answer_do_not_take_it_from_each_other() {
    let bench = Bench::new().await;
    let held = Held::new();
    let _worker = bench.worker_with(|worker| held.on(worker)).await;
    let client = bench.client().await;
    for _ in 0..20 {
        let ticket = client.request("held").submit().await.unwrap();
        let short = async {
            let fetch = client.fetch_timeout(&ticket.response_key, Duration::from_millis(10));
            let fetched = fetch.await;
            // The others still wait.
            held.end(1);
            fetched
        };
        let others =
            [(); 2].map(|()| client.fetch_timeout(&ticket.response_key, Duration::from_secs(20)));
        let (short, fetched, waited) = tokio::join!(short, join_all(others), ticket.wait());
        // The second where it is over before the fetch is sent.
        let over = [Code::DeadlineExceeded, Code::Unavailable];
        assert!(over.contains(&short.unwrap_err().code()));
        assert_eq!(fetched[0].as_ref().unwrap().id, ticket.id);
        assert_eq!(fetched[1].as_ref().unwrap().id, ticket.id);
        assert_eq!(waited.unwrap().id, ticket.id);
    }
}

#[tokio::test]
async fn concurrent_fetches_are_served_or_find_the_answer_taken() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    for _ in 0..20 {
        let ticket = client.request("echo").data(&1).submit().await.unwrap();
        let mut conn = bench.redis.connection().await;
        eventually("the answer", async || {
            let frames: u64 =
                redis::cmd("LLEN").arg(&ticket.response_key).query_async(&mut conn).await.unwrap();
            (frames == 2).then_some(())
        })
        .await;
        let fetches = (0..5).map(|_| client.fetch(&ticket.response_key));
        let fetched = join_all(fetches).await;
        assert!(fetched.iter().any(Result::is_ok), "{fetched:?}");
        for missed in fetched.iter().filter_map(|fetched| fetched.as_ref().err()) {
            assert_eq!(missed.code(), Code::NotFound, "{missed:?}");
        }
    }
}

/// Ends with the error that `call` gives, if that comes in time.
async fn ends_in_time<T>(what: &str, call: impl Future<Output = T>) -> T {
    let since = Instant::now();
    let ended = timeout(Duration::from_secs(10), call).await.expect(what);
    assert!(since.elapsed() < IN_TIME, "{what} took {:?}", since.elapsed());
    ended
}

#[tokio::test]
async fn calls_end_in_time_when_redis_stops_before_the_first() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let request = |queue: &str| {
        client.request("add").queue(queue).timeout(Duration::from_millis(300)).data(&1)
    };
    let key = client.request("add").submit().await.unwrap().response_key;
    let _stopped = Stopped::new(bench.redis.pid());
    let error = ends_in_time("wait", request("a").wait()).await.unwrap_err();
    assert!(!error.may_be_queued(), "{error:?}");
    let error = ends_in_time("send", request("b").send()).await.unwrap_err();
    assert!(!error.may_be_queued(), "{error:?}");
    let error = ends_in_time("submit", request("c").submit()).await.err().unwrap();
    assert!(!error.may_be_queued(), "{error:?}");
    let error = ends_in_time("stream", request("d").stream()).await.err().unwrap();
    assert!(!error.may_be_queued(), "{error:?}");
    let fetch = client.fetch_timeout(&key, Duration::from_millis(300));
    let error = ends_in_time("fetch", fetch).await.unwrap_err();
    assert!(error.may_be_queued(), "{error:?}");
    let queues = ["e", "f", "g", "h", "i", "j", "k", "l"];
    let waits = client.wait_many(queues.map(request));
    for answer in ends_in_time("wait_many", waits).await {
        assert!(!answer.unwrap_err().may_be_queued());
    }
    let calls = client.call_many(queues.map(request));
    for queued in ends_in_time("call_many", calls).await {
        assert!(!queued.unwrap_err().may_be_queued());
    }
}

#[tokio::test]
async fn a_short_call_does_not_wait_for_a_long_one() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let _stopped = Stopped::new(bench.redis.pid());
    let request = |ms| client.request("add").timeout(Duration::from_millis(ms)).data(&1);
    let long = tokio::spawn(request(20_000).wait());
    tokio::task::yield_now().await;
    ends_in_time("the short one", request(300).wait()).await.unwrap_err();
    let mixed = client.wait_many([request(20_000), request(300)]);
    assert!(timeout(IN_TIME, mixed).await.is_err(), "the long one has its own time");
    long.abort();
}

/// A client that has used the queue `q` and has noticed that Redis does not answer.
async fn cut_off(bench: &mut Bench) -> (Client, Stopped) {
    // Longer than a machine stops a process that is expected to answer.
    bench.settings.redis.response_timeout = Duration::from_secs(1);
    bench.settings.redis.connect_timeout = Duration::from_secs(1);
    let client = bench.client().await;
    let first = client.request("add").queue("q").timeout(Duration::from_millis(50));
    first.wait().await.unwrap_err();
    let mut conn = bench.redis.connection().await;
    redis::cmd("DEL").arg("redcall:{q}:queue").exec_async(&mut conn).await.unwrap();
    let stopped = Stopped::new(bench.redis.pid());
    client.call("add", &1).await.unwrap_err();
    (client, stopped)
}

#[tokio::test]
async fn call_reported_as_not_queued_never_runs() {
    let mut bench = Bench::new().await;
    let _worker = bench.worker().await;
    // A queue with a registered worker, whose requests stay where they are.
    let mut conn = bench.redis.connection().await;
    let served = redis::cmd("ZADD").arg("redcall:{q}:workers").arg("inf").arg("absent").to_owned();
    served.exec_async(&mut conn).await.unwrap();
    let (client, stopped) = cut_off(&mut bench).await;
    let request = || client.request("add").queue("q").timeout(Duration::from_millis(300));
    // The client may notice in time that it has no connection: then there is no stream.
    let stream = request().stream().await;
    let (stream, error) = match stream {
        Ok(mut stream) => {
            let error = stream.next().await.unwrap().unwrap_err();
            (Some(stream), error)
        }
        Err(error) => (None, error),
    };
    assert!(!error.may_be_queued(), "{error:?}");
    assert!(!request().wait().await.unwrap_err().may_be_queued());
    assert!(!request().send().await.unwrap_err().may_be_queued());
    drop(stopped);
    eventually("Redis to answer again", async || client.call("add", &1).await.ok()).await;
    // A later request has arrived, so the earlier ones would have.
    request().timeout(Duration::from_secs(10)).send().await.unwrap();
    let queue = redis::cmd("LLEN").arg("redcall:{q}:queue").to_owned();
    let queued: u64 = queue.query_async(&mut conn).await.unwrap();
    assert_eq!(queued, 1);
    drop(stream);
}

#[tokio::test]
async fn dropped_fetches_leave_no_subscription_behind() {
    async fn channels(conn: &mut MultiplexedConnection, part: &str) -> usize {
        let all = redis::cmd("PUBSUB").arg("SHARDCHANNELS").to_owned();
        let all: Vec<String> = all.query_async(conn).await.unwrap();
        all.iter().filter(|channel| channel.contains(part)).count()
    }
    let bench = Bench::new().await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let submits = (0..50).map(|_| client.request("add").queue("kept").submit());
    let tickets: Vec<_> =
        join_all(submits).await.into_iter().map(|ticket| ticket.unwrap()).collect();
    let fetches = || join_all(tickets.iter().map(|ticket| client.fetch(&ticket.response_key)));
    // Some are dropped before they are subscribed, some afterwards.
    timeout(Duration::from_millis(1), fetches()).await.unwrap_err();
    let all_received = async {
        eventually("all to be subscribed", async || {
            (channels(&mut conn, "{kept}").await == 50).then_some(())
        })
        .await;
    };
    tokio::select! {
        _ = fetches() => panic!("there is no answer"),
        () = all_received => {}
    }
    // One that stays keeps its channel.
    let stays = client.fetch(&tickets[0].response_key);
    let others_gone = eventually("the others to be gone", async || {
        (channels(&mut conn, "{kept}").await == 1).then_some(())
    });
    tokio::select! {
        _ = stays => panic!("there is no answer"),
        () = others_gone => {}
    }
    eventually("all to be gone", async || (channels(&mut conn, "{kept}").await == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_worker_is_not_sent_again_and_again() {
    let mut bench = Bench::new().await;
    bench.settings.client.no_workers_grace = Duration::from_secs(1);
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let before = carried_out(&mut conn, "evalsha").await;
    let since = Instant::now();
    let error = client.call_and_wait("add", "anything").await.unwrap_err();
    assert_eq!(error.code(), Code::NoWorkers);
    assert!(since.elapsed() >= Duration::from_millis(950), "{:?}", since.elapsed());
    assert!(since.elapsed() < IN_TIME, "{:?}", since.elapsed());
    let calls = carried_out(&mut conn, "evalsha").await - before;
    assert!(calls <= 3, "{calls} script calls");
}

#[tokio::test]
async fn a_call_that_waits_for_a_worker_is_sent_when_one_comes() {
    let mut bench = Bench::new().await;
    bench.settings.client.no_workers_grace = Duration::from_secs(10);
    let client = bench.client().await;
    let calls = (0..3).map(|n| client.request("echo").data(&n));
    let calls: Vec<_> = calls.collect();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait_many(calls).await }
    });
    let mut conn = bench.redis.connection().await;
    eventually("the client to check again", async || {
        (carried_out(&mut conn, "zrange").await >= 2).then_some(())
    })
    .await;
    let _worker = bench.worker().await;
    for (n, answer) in waiting.await.unwrap().into_iter().enumerate() {
        assert_eq!(answer.unwrap().json::<usize>().unwrap(), n);
    }
}

#[tokio::test]
async fn a_fetch_without_end_is_possible() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let ticket = client.request("echo").data(&1).submit().await.unwrap();
    let response = client.fetch_timeout(&ticket.response_key, Duration::MAX).await.unwrap();
    assert_eq!(response.data.get(), "1");
}

#[tokio::test]
async fn frames_that_could_not_be_trimmed_are_trimmed_later() {
    async fn steps(request: Request, go_on: State<Arc<Notify>>) -> Result<Json<()>, HandlerError> {
        for step in 0..300 {
            request.progress(&step).await?;
        }
        go_on.notified().await;
        Ok(Json(()))
    }
    let bench = Bench::new().await;
    let go_on = Arc::new(Notify::new());
    let state = go_on.clone();
    let _worker = bench.worker_with(|worker| worker.state(state).handler("steps", steps)).await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let allow = async |conn: &mut MultiplexedConnection, rule: &str| {
        let call = redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule).to_owned();
        call.exec_async(conn).await.unwrap();
    };
    allow(&mut conn, "-ltrim").await;
    let mut stream = client.request("steps").stream().await.unwrap();
    for _ in 0..300 {
        stream.next().await.unwrap().unwrap();
    }
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("*:response:*").query_async(&mut conn).await.unwrap();
    let length = async |conn: &mut MultiplexedConnection| -> u64 {
        redis::cmd("LLEN").arg(&keys[0]).query_async(conn).await.unwrap()
    };
    assert_eq!(length(&mut conn).await, 300);
    allow(&mut conn, "+ltrim").await;
    eventually("the read frames to be trimmed", async || {
        // But for the last one: there the stream is.
        (length(&mut conn).await == 300 - 255).then_some(())
    })
    .await;
    go_on.notify_one();
    assert!(matches!(stream.next().await.unwrap().unwrap(), Update::Done(_)));
}

/// Compiles only if every future of the client can be moved to another thread.
#[tokio::test]
async fn every_future_of_the_client_is_send() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let bench = Bench::new().await;
    let client = bench.client().await;
    let request = || client.request("add").data(&1);
    drop(send(client.call("add", &1)));
    drop(send(client.call_and_wait("add", &1)));
    drop(send(request().send()));
    drop(send(request().wait()));
    drop(send(request().stream()));
    drop(send(client.fetch("key")));
    drop(send(client.fetch_timeout("key", IN_TIME)));
    drop(send(client.call_many([request()])));
    drop(send(client.wait_many([request()])));
    drop(send(client.call_many(std::iter::repeat_with(request).take(2))));
    drop(send(client.wait_many(std::iter::repeat_with(request).take(2))));
    let ticket = send(request().submit()).await.unwrap();
    drop(send(ticket.wait()));
}
