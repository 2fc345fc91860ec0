//! Jobs that an HTTP server runs: its requests, and the outcomes of its responses.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod hostile;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use redcall_client::{CallError, Client, Code, Response, WireError};
use redcall_common::settings::{HandlerSettings, JobSettings, Retries};
use redcall_testkit::TestRedis;
use redcall_tests::{Bench, RunningWorker};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Logged, SettingsFile, closed_port, failed};

/// A request as the server got it: its first line and headers in lower case, and its body.
#[derive(Clone, Debug)]
struct Got {
    line: String,
    headers: Vec<String>,
    body: String,
    /// Number of the connection, from 1.
    connection: usize,
}

/// A server that answers each request with the next of `responses`, then always with the last one.
struct Server {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    async fn new(responses: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let responses: Vec<String> =
            responses.iter().map(|response| response.to_string()).collect();
        let (seen, responses) = (got.clone(), Arc::new(responses));
        tokio::spawn(async move {
            for connection in 1.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, seen.clone(), responses.clone()));
            }
        });
        Self { url, got }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    got: Arc<Mutex<Vec<Got>>>,
    responses: Arc<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let line = head.remove(0);
        let headers: Vec<String> = head.iter().map(|header| header.to_lowercase()).collect();
        let length = headers.iter().find_map(|header| header.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await?;
        let body = String::from_utf8(body).unwrap();
        let count = {
            let mut got = got.lock().unwrap();
            got.push(Got { line, headers, body, connection });
            got.len()
        };
        let response = &responses[(count - 1).min(responses.len() - 1)];
        stream.write_all(response.as_bytes()).await?;
    }
}

/// A response with this status, further headers (each ended by `\r\n`), and body.
fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// A worker whose job `ask` runs on the server.
struct Served {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    client: Client,
    _bench: Bench,
    server: Server,
}

impl Served {
    async fn new(method: &str, responses: &[&str]) -> Self {
        Self::with(method, responses, |_| {}).await
    }

    async fn with(method: &str, responses: &[&str], change: impl FnOnce(&mut JobSettings)) -> Self {
        let (mut bench, server) = (Bench::new().await, Server::new(responses).await);
        let url = format!("{}/ask?always=1", server.url);
        change(bench.http("ask", method, &url));
        let (worker, client) = (bench.worker().await, bench.client().await);
        Self { _worker: worker, client, _bench: bench, server }
    }

    async fn call(&self, data: &Value) -> Result<Response, CallError> {
        self.client.call_and_wait("ask", data).await
    }

    async fn error(&self, data: &Value) -> WireError {
        failed(self.call(data).await)
    }
}

#[tokio::test]
async fn data_goes_in_the_body_and_the_body_is_the_answer() {
    let ok = response("200 OK", "", r#"{"so": [1, "é"]}"#);
    let served = Served::with("POST", &[&ok], |job| {
        let HandlerSettings::Http(http) = &mut job.kind else { panic!("{:?}", job.kind) };
        http.headers.insert("Authorization".to_owned(), "Bearer s".to_owned());
    })
    .await;
    let data = json!({"a": "é"});
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = served.client.request("ask").data(&data).header("traceparent", trace);
    let answer = request.header("secret", "no").wait().await.unwrap();
    assert_eq!(answer.data.get(), r#"{"so": [1, "é"]}"#);
    let got = served.server.got().remove(0);
    assert_eq!(
        (got.line.as_str(), got.body.as_str()),
        ("POST /ask?always=1 HTTP/1.1", r#"{"a":"é"}"#)
    );
    let budget = got.headers.iter().find_map(|line| line.strip_prefix("redcall-budget-ms: "));
    assert!((1..=30_000).contains(&budget.unwrap().parse::<u64>().unwrap()), "{budget:?}");
    for header in [
        "content-type: application/json".to_owned(),
        "authorization: bearer s".to_owned(),
        format!("redcall-job-id: {}", answer.id),
        "redcall-attempt: 1".to_owned(),
        format!("traceparent: {trace}"),
    ] {
        assert!(got.headers.contains(&header), "{header} in {:?}", got.headers);
    }
    assert!(!got.headers.iter().any(|header| header.starts_with("secret")), "{:?}", got.headers);
}

#[tokio::test]
async fn data_of_a_get_goes_into_the_query_as_far_as_it_can() {
    let served = Served::new("GET", &[&response("204 No Content", "", "")]).await;
    let answer =
        served.call(&json!({"q": "a b&c", "n": 1, "no": null, "yes": true})).await.unwrap();
    assert_eq!(answer.data.get(), "null");
    assert_eq!(served.server.got()[0].line, "GET /ask?always=1&n=1&q=a+b%26c&yes=true HTTP/1.1");
    for data in [json!([1]), json!({"deep": {}}), json!(1)] {
        assert_eq!(served.error(&data).await.code, Code::InvalidData);
    }
    assert_eq!(served.server.got().len(), 1);
}

#[tokio::test]
async fn http_statuses_become_codes_with_the_servers_message() {
    for (status, code) in [
        ("400 Bad Request", Code::InvalidData),
        ("403 Forbidden", Code::Unauthorized),
        ("404 Not Found", Code::NotFound),
        ("409 Conflict", Code::Conflict),
        ("413 Content Too Large", Code::TooLarge),
        ("422 Unprocessable Content", Code::InvalidData),
        ("429 Too Many Requests", Code::Overloaded),
        ("500 Internal Server Error", Code::HandlerFailed),
        ("503 Service Unavailable", Code::Overloaded),
        ("504 Gateway Timeout", Code::Timeout),
    ] {
        let responses = [response(status, "", r#"{"why": 1}"#), response(status, "", "since")];
        let served = Served::new("POST", &[&responses[0], &responses[1]]).await;
        for data in [r#"{"why": 1}"#, r#""since""#] {
            let error = served.error(&json!({})).await;
            assert_eq!(error.code, code, "{status}");
            assert!(error.message.starts_with(&format!("HTTP status {}", &status[..3])), "{error}");
            assert_eq!(error.data.unwrap().get(), data);
        }
    }
}

#[tokio::test]
async fn invalid_http_answer_is_a_failure() {
    let big = response("200 OK", "", &"1".repeat(9_000_000));
    let text = response("200 OK", "", "<html>");
    let responses = [text.as_str(), &big, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1"];
    let served = Served::new("POST", &responses).await;
    let error = served.error(&json!({})).await;
    assert_eq!(error.code, Code::HandlerFailed);
    assert!(error.message.starts_with("the response is not JSON"), "{error}");
    assert_eq!(served.error(&json!({})).await.code, Code::TooLarge);
    let (_closed, unreachable) = closed_port();
    let mut bench = Bench::new().await;
    bench.http("ask", "POST", &format!("http://{unreachable}/?key=secret"));
    let (_worker, client) = (bench.worker().await, bench.client().await);
    let error = client.call_and_wait("ask", &json!({})).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1 cannot be reached"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

/// Returns the error of a job at `url`, of a worker with these variables.
async fn error_with(url: &str, variables: &[(&str, String)]) -> WireError {
    let bench = Bench::new().await;
    let file = SettingsFile::new(&format!("[jobs.ask]\nhttp = {{ url = '{url}' }}\n"));
    let mut env = bench.environment();
    env.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &env);
    worker.line(": ready").await;
    failed(bench.client().await.call_and_wait("ask", &json!({})).await)
}

#[tokio::test]
async fn error_names_the_proxy_that_was_tried() {
    let (_closed, gone) = closed_port();
    let proxy = format!("http://user:secret@{gone}");
    let url = "http://api.invalid/?key=secret";
    for (variable, url) in [
        ("HTTP_PROXY", url),
        ("all_proxy", url),
        ("HTTPS_PROXY", "https://api.invalid/?key=secret"),
    ] {
        let error = error_with(url, &[(variable, proxy.clone())]).await;
        let expected = format!("api.invalid cannot be reached through the proxy {gone}: ");
        assert!(error.message.starts_with(&expected), "{variable}: {error}");
        assert!(!error.message.contains("secret"), "{variable}: {error}");
    }
    // It may be the proxy's own answer.
    let server = Server::new(&[&response("502 Bad Gateway", "", "")]).await;
    let error = error_with(url, &[("HTTP_PROXY", server.url.clone())]).await;
    let at = server.url.strip_prefix("http://").unwrap();
    assert_eq!(error.message, format!("HTTP status 502 Bad Gateway through the proxy {at}"));
    // Without one, the port is named.
    let both = [("HTTP_PROXY", proxy), ("NO_PROXY", "127.0.0.1".to_owned())];
    let error = error_with(&format!("http://{gone}/"), &both).await;
    let expected = format!("127.0.0.1 cannot be reached at port {}: ", gone.port());
    assert!(error.message.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn refused_certificate_differs_from_unreachable_server() {
    // It speaks TLS, under an unknown authority.
    let redis = TestRedis::start_tls().await;
    let url = redis.url().replace("rediss://", "https://");
    let error = error_with(&url, &[]).await;
    let expected = "is not trusted: its certificate was refused at port";
    assert!(error.message.contains(expected), "{error}");
}

/// Returns `true` if a refusal with this header is tried again, and not before `due`.
async fn is_tried_again(status: &str, header: &str, due: SystemTime) {
    let refused = response(status, &format!("Retry-After: {header}\r\n"), "");
    let served = Served::with("POST", &[&refused, &response("200 OK", "", "1")], |job| {
        // Not among the codes that are retried by default.
        job.retries = Retries { max: 1, ..Retries::default() };
    })
    .await;
    assert_eq!(served.call(&json!({})).await.unwrap().data.get(), "1");
    assert!(SystemTime::now() >= due, "{status}: {header}");
}

#[tokio::test]
async fn retry_after_sets_the_time_of_the_retry() {
    is_tried_again("429 Too Many Requests", "1", SystemTime::now() + Duration::from_secs(1)).await;
    let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let due = httpdate::parse_http_date(&later).unwrap();
    is_tried_again("503 Service Unavailable", &later, due).await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let served = Served::new("POST", &[&response("200 OK", "", "1")]).await;
    for _ in 0..3 {
        served.call(&json!({})).await.unwrap();
    }
    let connections: Vec<usize> = served.server.got().iter().map(|got| got.connection).collect();
    assert_eq!(connections, [1, 1, 1]);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let moved = response("307 Temporary Redirect", "Location: /other\r\n", "");
    let served = Served::new("POST", &[&moved, &response("200 OK", "", "1")]).await;
    assert_eq!(served.error(&json!({})).await.code, Code::HandlerFailed);
    assert_eq!(served.server.got().len(), 1);
}
