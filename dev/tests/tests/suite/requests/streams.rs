//! Answers in parts: none is dropped, and the number of unread parts is bounded.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod follow;

use redcall_client::{FrameStream, Update};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::{HandlerError, Json, Request, Worker};
use redis::AsyncCommands;

use crate::support::{UNTIMED, client_connections, cut, response_key};

/// Sends `count` parts, which end with their numbers, padded by `size` bytes.
async fn parts(
    request: Request,
    Json((count, size)): Json<(usize, usize)>,
) -> Result<Json<usize>, HandlerError> {
    for part in 0..count {
        request.chunk(&format!("{}{part}", "0".repeat(size))).await?;
    }
    Ok(Json(count))
}

/// A stream of `count` parts whose reader does not read until `unread` lie at Redis.
async fn stopped(bench: &Bench, count: usize, size: usize, unread: usize) -> FrameStream {
    let client = bench.client().await;
    let request = client.request("parts").data(&(count, size)).timeout(UNTIMED);
    let stream = request.stream().await.unwrap();
    let key = response_key(stream.id());
    let mut conn = bench.redis.connection().await;
    eventually("the writer to wait", async || {
        let length: usize = conn.llen(&key).await.unwrap();
        assert!(length <= unread, "{length} lie unread");
        (length == unread).then_some(())
    })
    .await;
    stream
}

/// Reads these parts, in order.
async fn read_some(stream: &mut FrameStream, parts: std::ops::Range<usize>) {
    for part in parts {
        match stream.next().await.unwrap().unwrap() {
            Update::Chunk(data) => {
                let text: String = serde_json::from_str(data.get()).unwrap();
                assert_eq!(text.parse::<usize>().unwrap(), part);
            }
            other => panic!("{part}: {other:?}"),
        }
    }
}

/// Reads all parts, in order, and the answer.
async fn read(stream: FrameStream, count: usize) {
    read_from(stream, 0, count).await;
}

/// Reads the parts from one on, in order, and the answer.
async fn read_from(mut stream: FrameStream, first: usize, count: usize) {
    read_some(&mut stream, first..count).await;
    let Update::Done(answer) = stream.next().await.unwrap().unwrap() else { panic!("no answer") };
    assert_eq!(answer.data.get(), count.to_string());
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn handler_blocks_for_its_reader_and_loses_nothing() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker: Worker| worker.handler("parts", parts)).await;
    read(stopped(&bench, 3000, 5, 1000).await, 3000).await;
}

#[tokio::test]
async fn large_parts_block_the_handler_earlier() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker: Worker| worker.handler("parts", parts)).await;
    // 8 MiB hold 15 of half a MiB and what is around them.
    read(stopped(&bench, 40, 512 << 10, 15).await, 40).await;
}

#[tokio::test]
async fn stream_continues_by_sequence_after_a_reconnect() {
    let bench = Bench::new().await;
    let _worker = bench.worker_with(|worker: Worker| worker.handler("parts", parts)).await;
    let mut stream = stopped(&bench, 5000, 5, 1000).await;
    let mut conn = bench.redis.connection().await;
    // Each time while the writer sends again, partly without announcements.
    for round in 0..4 {
        read_some(&mut stream, 1000 * round..1000 * (round + 1)).await;
        // Both of its connections, as soon as they are there again.
        eventually("its connections", async || {
            (client_connections(&mut conn).await >= 2).then_some(())
        })
        .await;
        assert!(cut(&mut conn, "redcall-client-").await >= 2);
    }
    read_from(stream, 4000, 5000).await;
}
