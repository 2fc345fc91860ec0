//! Endpoints that flood their worker, and callers that bend a request: a typed error, in time.

use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_common::settings::HandlerSettings;
use redcall_tests::Bench;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Served, response};
use crate::support::failed;

/// A server that answers each request with `head`, then `piece` over and over, then `tail`.
async fn flood(
    head: &'static str,
    piece: &'static str,
    count: usize,
    tail: &'static str,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                // Many pieces in one write: their number causes the cost.
                let many = piece.repeat(1000);
                stream.write_all(head.as_bytes()).await?;
                for _ in 0..count / 1000 {
                    stream.write_all(many.as_bytes()).await?;
                }
                stream.write_all(piece.repeat(count % 1000).as_bytes()).await?;
                stream.write_all(tail.as_bytes()).await
            });
        }
    });
    url
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const ENDLESS: usize = usize::MAX;

/// Returns the error of a job whose endpoint is at `url`, and checks that it comes long before its
/// timeout.
async fn answer_of(url: &str) -> Result<String, redcall_client::WireError> {
    let mut bench = Bench::new().await;
    bench.http("ask", "POST", url);
    let (_worker, client) = (bench.worker().await, bench.client().await);
    let since = Instant::now();
    let answer_of = client.call_and_wait("ask", &json!({})).await;
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    match answer_of {
        Ok(answer) => Ok(answer.data.get().to_owned()),
        error => Err(failed(error)),
    }
}

#[tokio::test]
async fn endless_one_byte_chunks_end_with_a_typed_error() {
    let url = flood(CHUNKED, "1\r\n \r\n", ENDLESS, "").await;
    let error = answer_of(&url).await.unwrap_err();
    assert_eq!(error.code, Code::HandlerFailed);
    assert!(error.message.contains("in 16645 pieces"), "{error}");
    // Also where the server reports a fault of the request.
    let head = "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n";
    let error = answer_of(&flood(head, "1\r\n \r\n", ENDLESS, "").await).await.unwrap_err();
    assert_eq!((error.code, error.data.is_none()), (Code::InvalidData, true), "{error}");
}

#[tokio::test]
async fn answer_in_many_small_chunks_is_taken() {
    let url = flood(CHUNKED, "1\r\n \r\n", 4000, "1\r\n7\r\n0\r\n\r\n").await;
    assert_eq!(answer_of(&url).await.unwrap(), "7");
    // Larger ones may be any number.
    let lines = "40\r\n                                                                \r\n";
    let url = flood(CHUNKED, lines, 40_000, "1\r\n7\r\n0\r\n\r\n").await;
    assert_eq!(answer_of(&url).await.unwrap(), "7");
}

#[tokio::test]
async fn endless_interim_responses_end_with_a_typed_error() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]
    {
        let error = answer_of(&flood("", interim, ENDLESS, "").await).await.unwrap_err();
        assert_eq!(error.code, Code::HandlerFailed);
        assert!(error.message.contains("sent more than 16 1xx responses"), "{error}");
    }
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let url = flood("", hints, 16, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7").await;
    assert_eq!(answer_of(&url).await.unwrap(), "7");
}

#[tokio::test]
async fn endless_head_is_a_failure() {
    let url = flood("HTTP/1.1 200 OK\r\nx: ", "y", ENDLESS, "").await;
    assert_eq!(answer_of(&url).await.unwrap_err().code, Code::HandlerFailed);
}

#[tokio::test]
async fn answer_that_nests_too_deep_is_too_large() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let (fits, deep) = (nested(63), nested(64));
    let ok = [&fits, &deep, &nested(100_000)].map(|body| response("200 OK", "", body));
    let refused = response("400 Bad Request", "", &nested(63));
    let served = Served::new("POST", &[&ok[0], &ok[1], &ok[2], &refused]).await;
    assert_eq!(served.call(&json!({})).await.unwrap().data.get(), fits);
    for _ in 0..2 {
        let error = served.error(&json!({})).await;
        assert_eq!(error.code, Code::TooLarge);
        assert!(error.message.contains("deeper than 64 levels (limits.depth)"), "{error}");
    }
    // The data of an error is a level deeper, and shown as a text then.
    let error = served.error(&json!({})).await;
    assert_eq!(error.data.unwrap().get(), format!("\"{}\"", nested(63)));
}

#[tokio::test]
async fn field_that_repeats_the_urls_own_parameter_is_refused() {
    let served = Served::new("GET", &[&response("200 OK", "", "1")]).await;
    for name in ["always", "Always", "always[]", "always[x]", " always"] {
        let error = served.error(&json!({name: 2, "q": 1})).await;
        assert_eq!(error.code, Code::InvalidData, "{name}");
        assert!(error.message.contains("is set by the job's url"), "{error}");
    }
    assert_eq!(served.server.got().len(), 0);
    served.call(&json!({"q": "1&always=2", "never": 3})).await.unwrap();
    let line = &served.server.got()[0].line;
    assert_eq!(line, "GET /ask?always=1&never=3&q=1%26always%3D2 HTTP/1.1");
}

#[tokio::test]
async fn own_headers_override_mapping_then_callers_headers() {
    let served = Served::with("POST", &[&response("200 OK", "", "1")], |job| {
        let HandlerSettings::Http(http) = &mut job.kind else { panic!("{:?}", job.kind) };
        for name in ["traceparent", "redcall-job-id", "redcall-attempt", "Accept"] {
            http.headers.insert(name.to_owned(), "own".to_owned());
        }
    })
    .await;
    let request = served.client.request("ask").data(&json!({}));
    let request = request.header("traceparent", "theirs").header("tracestate", "theirs");
    let id = request.wait().await.unwrap().id;
    let got = served.server.got().remove(0);
    let of = |name: &str| {
        let start = format!("{name}: ");
        let values = got.headers.iter().filter_map(|header| header.strip_prefix(&start));
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((of("traceparent"), of("tracestate")), (vec!["own".into()], vec!["theirs".into()]));
    assert_eq!((of("redcall-job-id"), of("redcall-attempt")), (vec![id], vec!["1".to_owned()]));
    assert_eq!(of("accept"), ["own"]);
}

#[tokio::test]
async fn user_of_the_url_is_a_header_and_not_shown() {
    let (mut bench, server) =
        (Bench::new().await, super::Server::new(&[&response("200 OK", "", "1")]).await);
    let url = server.url.replace("http://", "http://me:p%40ss@");
    bench.http("ask", "POST", &url);
    let (_worker, client) = (bench.worker().await, bench.client().await);
    client.call_and_wait("ask", &json!({})).await.unwrap();
    let got = server.got().remove(0);
    assert!(got.headers.contains(&"authorization: basic bwu6cebzcw==".to_owned()), "{got:?}");
    assert_eq!(got.line, "POST / HTTP/1.1");
}
