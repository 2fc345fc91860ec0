//! Following calls of another client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, Code, Update};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, State, Worker};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::sync::Semaphore;

use super::{parts, read_from, read_some, stopped};
use crate::support::{QUEUE, response_key, waited};

/// Sends a part for each permit that it gets, and answers after the third.
async fn steps(request: Request, go: State<Arc<Semaphore>>) -> Result<Json<u64>, HandlerError> {
    for part in 1..=3 {
        go.acquire().await.unwrap().forget();
        request.chunk(&part).await?;
    }
    go.acquire().await.unwrap().forget();
    Ok(Json(3))
}

struct Steps {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    bench: Bench,
    go: Arc<Semaphore>,
    conn: MultiplexedConnection,
}

impl Steps {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let go = Arc::new(Semaphore::new(0));
        let state = go.clone();
        let build =
            |worker: Worker| worker.state(state).handler("steps", steps).handler("parts", parts);
        let worker = bench.worker_with(build).await;
        let conn = bench.redis.connection().await;
        Self { _worker: worker, bench, go, conn }
    }

    /// Releases the handler; returns once `count` frames are at `key`.
    async fn goes_on(&mut self, key: &str, count: usize) {
        self.go.add_permits(1);
        eventually("the frame", async || {
            (self.conn.llen::<_, usize>(key).await.unwrap() == count).then_some(())
        })
        .await;
    }
}

fn code<T>(followed: Result<T, CallError>) -> Code {
    followed.err().unwrap().code()
}

#[tokio::test]
async fn another_client_continues_where_the_first_stopped() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker: Worker| worker.handler("parts", parts)).await;
    let mut first = stopped(&bench, 3000, 5, 1000).await;
    read_some(&mut first, 0..500).await;
    let (attempt, seq) = first.position();
    assert_eq!((attempt, seq), (1, 500));
    let other = bench.client().await;
    let followed = other.follow(first.response_key(), seq + 1).await.unwrap();
    assert_eq!(followed.id(), first.id());
    read_from(followed, 500, 3000).await;
}

#[tokio::test]
async fn follow_returns_only_unread_frames() {
    let mut steps = Steps::new().await;
    let client = steps.bench.client().await;
    let mut first = client.request("parts").data(&(200, 5)).stream().await.unwrap();
    read_some(&mut first, 0..200).await;
    let (key, other) = (first.response_key().to_owned(), steps.bench.client().await);
    eventually("the read frames to be trimmed", async || {
        (steps.conn.llen::<_, usize>(&key).await.unwrap() < 100).then_some(())
    })
    .await;
    // 192 were read and dropped, but for the last one: there the stream is.
    assert_eq!(code(other.follow(&key, 1).await), Code::NotFound);
    assert_eq!(code(other.follow(&key, 191).await), Code::NotFound);
    read_from(other.follow(&key, 192).await.unwrap(), 191, 200).await;
    // The reader of the end takes it.
    assert_eq!(code(other.follow(&key, 192).await), Code::NotFound);
    assert_eq!(code(other.follow(&response_key("never"), 1).await), Code::NotFound);
    for wrong in ["", "x", QUEUE, "redcall:{default}:response:", "other:{default}:response:a"] {
        assert_eq!(code(other.follow(wrong, 1).await), Code::InvalidRequest, "{wrong}");
    }

    let first = client.request("steps").stream().await.unwrap();
    let key = first.response_key();
    steps.goes_on(key, 1).await;
    let mut later = other.follow(key, 3).await.unwrap();
    steps.go.add_permits(3);
    let Update::Chunk(third) = later.next().await.unwrap().unwrap() else { panic!("no part") };
    assert_eq!(third.get(), "3");
    assert!(matches!(later.next().await.unwrap().unwrap(), Update::Done(_)));
    assert!(later.next().await.is_none());
}

#[tokio::test]
async fn announced_frames_reach_the_follower_without_polling() {
    let mut steps = Steps::new().await;
    let client = steps.bench.client().await;
    let first = client.request("steps").stream().await.unwrap();
    let key = first.response_key().to_owned();
    steps.goes_on(&key, 1).await;
    let other = steps.bench.client().await;
    let mut followed = other.follow(&key, 1).await.unwrap();
    assert!(matches!(followed.next().await.unwrap().unwrap(), Update::Chunk(_)));
    let (next, ()) = tokio::join!(followed.next(), async {
        let channel =
            eventually("both to listen", async || subscribed_by_two(&mut steps.conn).await);
        let channel = channel.await;
        // From now on no read succeeds; the worker cannot push either.
        for read in ["-lrange", "-lindex", "-llen"] {
            let call = redis::cmd("ACL").arg("SETUSER").arg("default").arg(read).to_owned();
            let () = call.query_async(&mut steps.conn).await.unwrap();
        }
        let id = first.id();
        let frame = format!(r#"[{{"id":"{id}","type":"chunk","seq":2,"attempt":1,"data":22}}]"#);
        let call = redis::cmd("SPUBLISH").arg(channel).arg(frame).to_owned();
        let () = call.query_async(&mut steps.conn).await.unwrap();
    });
    let Update::Chunk(second) = next.unwrap().unwrap() else { panic!("no part") };
    assert_eq!(second.get(), "22");
}

/// The channel of answers that two listen on.
async fn subscribed_by_two(conn: &mut MultiplexedConnection) -> Option<String> {
    let call = redis::cmd("PUBSUB").arg("SHARDCHANNELS").to_owned();
    let channels: Vec<String> = call.query_async(conn).await.unwrap();
    let call = redis::cmd("PUBSUB").arg("SHARDNUMSUB").arg(channels).to_owned();
    let counts: Vec<(String, u64)> = call.query_async(conn).await.unwrap();
    let mut both = counts.into_iter().filter(|(name, n)| name.contains(":notify:") && *n == 2);
    both.next().map(|(name, _)| name)
}

#[tokio::test]
async fn request_without_a_channel_is_followed_by_polling() {
    let mut steps = Steps::new().await;
    let () = steps.conn.rpush(QUEUE, waited("plain", "steps", "null", "")).await.unwrap();
    let key = response_key("plain");
    steps.goes_on(&key, 1).await;
    let other = steps.bench.client().await;
    // It reads once a second at least; the other two are for a machine that stops processes.
    let timeout = Duration::from_secs(3);
    let mut followed = other.follow_timeout(&key, 1, timeout).await.unwrap();
    for part in ["1", "2", "3"] {
        let Update::Chunk(data) = followed.next().await.unwrap().unwrap() else { panic!("{part}") };
        assert_eq!(data.get(), part);
        steps.go.add_permits(1);
    }
    assert!(matches!(followed.next().await.unwrap().unwrap(), Update::Done(_)));
}

#[tokio::test]
async fn lagging_reader_of_two_gets_an_error() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker: Worker| worker.handler("parts", parts)).await;
    let mut slow = stopped(&bench, 5000, 5, 1000).await;
    let other = bench.client().await;
    let mut quick = other.follow(slow.response_key(), 1).await.unwrap();
    read_some(&mut quick, 0..5000).await;
    // Announced frames are buffered here, up to a bound.
    read_some(&mut slow, 0..2000).await;
    assert_eq!(code(slow.next().await.unwrap()), Code::NotFound);
    assert!(slow.next().await.is_none());
    assert!(matches!(quick.next().await.unwrap().unwrap(), Update::Done(_)));
}

#[tokio::test]
async fn two_readers_of_large_parts_get_all_or_an_error() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker: Worker| worker.handler("parts", parts)).await;
    // Announced by their id alone: each reads them at the key, where the other one trims.
    let slow = stopped(&bench, 200, 100_000, 83).await;
    let other = bench.client().await;
    let quick = other.follow(slow.response_key(), 1).await.unwrap();
    let read = async |mut stream: redcall_client::FrameStream| {
        for part in 0..200 {
            match stream.next().await.unwrap() {
                Ok(Update::Chunk(data)) => {
                    let text: String = serde_json::from_str(data.get()).unwrap();
                    assert_eq!(text.parse::<usize>().unwrap(), part);
                }
                Err(error) => return error.code() == Code::NotFound,
                other => panic!("{part}: {other:?}"),
            }
        }
        matches!(stream.next().await.unwrap(), Ok(Update::Done(_)) | Err(_))
    };
    assert_eq!(tokio::join!(read(quick), read(slow)), (true, true));
}

#[tokio::test]
async fn wait_for_the_next_frame_ends_and_the_job_continues() {
    let mut steps = Steps::new().await;
    let client = steps.bench.client().await;
    let mut first = client.request("steps").stream().await.unwrap();
    let key = first.response_key().to_owned();
    steps.goes_on(&key, 1).await;
    let other = steps.bench.client().await;
    let timeout = Duration::from_secs(1);
    let mut followed = other.follow_timeout(&key, 1, timeout).await.unwrap();
    assert!(matches!(followed.next().await.unwrap().unwrap(), Update::Chunk(_)));
    assert_eq!(code(followed.next().await.unwrap()), Code::DeadlineExceeded);
    assert!(followed.next().await.is_none());
    drop(followed);
    steps.go.add_permits(3);
    let mut seen = 0;
    while let Some(update) = first.next().await {
        update.unwrap();
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[tokio::test]
async fn follower_is_notified_of_a_restart() {
    async fn twice(request: Request, go: State<Arc<Semaphore>>) -> Result<Json<u32>, HandlerError> {
        request.chunk(&request.attempt()).await?;
        go.acquire().await.unwrap().forget();
        if request.attempt() == 1 { Err(HandlerError::new("once")) } else { Ok(Json(2)) }
    }
    let mut bench = Bench::new().await;
    let retries = &mut bench.command("twice", &["true"]).retries;
    (retries.max, retries.base) = (1, Duration::from_millis(1));
    bench.settings.jobs.get_mut("twice").unwrap().kind =
        redcall_common::settings::HandlerSettings::Compiled("twice".to_owned());
    let go = Arc::new(Semaphore::new(0));
    let state = go.clone();
    let _worker = bench.worker_with(|worker| worker.state(state).handler("twice", twice)).await;
    let (client, other) = (bench.client().await, bench.client().await);
    let first = client.request("twice").stream().await.unwrap();
    let mut followed =
        eventually("the first part", async || other.follow(first.response_key(), 1).await.ok())
            .await;
    let mut seen = Vec::new();
    let follow = async |followed: &mut redcall_client::FrameStream, seen: &mut Vec<String>| {
        let update = followed.next().await.unwrap().unwrap();
        seen.push(match update {
            Update::Restarted { attempt } => format!("restarted {attempt}"),
            Update::Chunk(data) => format!("chunk {data}"),
            Update::Progress(_) => "failed".to_owned(),
            Update::Pending => "pending".to_owned(),
            Update::Deferred { data, .. } => format!("deferred {data}"),
            Update::Done(response) => format!("done {}", response.data),
        });
    };
    follow(&mut followed, &mut seen).await;
    go.add_permits(1);
    for _ in 0..3 {
        follow(&mut followed, &mut seen).await;
    }
    // A late follower begins with the present attempt, whose first frame names its number.
    let mut late = other.follow(first.response_key(), 1).await.unwrap();
    let mut of_late = Vec::new();
    go.add_permits(1);
    for _ in 0..3 {
        follow(&mut late, &mut of_late).await;
    }
    follow(&mut followed, &mut seen).await;
    assert_eq!(seen, ["chunk 1", "failed", "restarted 2", "chunk 2", "done 2"]);
    assert_eq!(of_late, ["restarted 2", "chunk 2", "done 2"]);
}

#[tokio::test]
async fn client_may_follow_its_own_call() {
    let mut steps = Steps::new().await;
    let client: Client = steps.bench.client().await;
    let first = client.request("steps").stream().await.unwrap();
    let key = first.response_key().to_owned();
    steps.goes_on(&key, 1).await;
    let mut followed = client.follow(&key, 1).await.unwrap();
    assert!(matches!(followed.next().await.unwrap().unwrap(), Update::Chunk(_)));
    drop(followed);
    // It still receives its own calls' frames.
    steps.go.add_permits(3);
    let mut took = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        let answered = client.request("echo").wait().await;
        took.push(since.elapsed());
        assert_eq!(answered.unwrap().data.get(), "null");
    }
    // Without them it would read the answer after a second, each time.
    assert!(took.iter().min().is_some_and(|took| took.as_millis() < 900), "{took:?}");
}
