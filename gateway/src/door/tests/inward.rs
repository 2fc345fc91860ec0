//! From a foreign name to a request, and to its end.

use redcall_client::Code;
use redcall_worker::{HandlerError, Json, Request, Stop, Worker};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Opened, open, open_as};

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

/// Starts a worker with the jobs `show` and `fail`; it ends when the sender is dropped after
/// [`Stop::Now`], or with the test.
fn worker(opened: &Opened, queue: &str) -> watch::Sender<Stop> {
    let mut settings = opened.door.all_settings().clone();
    settings.worker.queues = vec![queue.to_owned()];
    settings.jobs.clear();
    let show = async |request: Request, Json(data): Json<Value>| {
        Json(json!({"data": data, "headers": request.headers()}))
    };
    let fail = async || -> Result<(), HandlerError> {
        Err(HandlerError::with_code(Code::NotFound, "no such thing").data(&7))
    };
    let worker = Worker::from_settings(settings).unwrap().handler("show", show);
    let (stop, stopped) = watch::channel(Stop::No);
    tokio::spawn(worker.handler("fail", fail).run_until(stopped));
    stop
}

#[tokio::test]
async fn foreign_name_becomes_a_job_by_table_then_by_prefix() {
    let keys = "protocol = 'pm'\nlisten = '127.0.0.1:0'\nprefix = 'py.'\n\
                names = { add = 'math.add', sub = 'sub' }\njobs = ['math.*', 'py.a*']";
    let opened = open_as(&format!("[gateways.g]\n{keys}")).await;
    let job = |foreign: &str| opened.door.job_of(foreign).map_err(|failure| failure.code);
    assert_eq!(job("add"), Ok("math.add".to_owned()));
    assert_eq!(job("also"), Ok("py.also".to_owned()));
    // Not one of `jobs`, which is checked after naming.
    for foreign in ["sub", "other", "math.add"] {
        assert_eq!(job(foreign), Err(Code::UnknownJob), "{foreign}");
    }
    let long = "a".repeat(200);
    for foreign in ["a b", "a\nb", "a\0", &long] {
        assert_eq!(job(foreign), Err(Code::UnknownJob), "{foreign:?}");
    }
    let message = opened.door.job_of("x\n\u{1b}[31m").unwrap_err().message;
    assert_eq!(message, "unknown job `x\\n\\u{1b}[31m`");
}

#[tokio::test]
async fn call_has_the_door_in_its_headers_and_is_counted() {
    let keys = "protocol = 'pm'\nlisten = '127.0.0.1:0'\nqueue = 'own'";
    let opened = open_as(&format!("[gateways.g]\n{keys}")).await;
    let _stop = worker(&opened, "own");
    let door = &opened.door;
    let request = door.waited_request("show", &raw(&json!({"b": 1, "a": 2})), "1.2.3.4:5").unwrap();
    let answer = door.wait("show", "1.2.3.4:5", request.header("sid", "s")).await.unwrap();
    let headers = json!({"gateway": "g", "peer": "1.2.3.4:5", "sid": "s"});
    let answer: Value = answer.json().unwrap();
    assert_eq!(answer["headers"], headers);

    let request = door.waited_request("fail", &raw(&json!(null)), "p").unwrap();
    let failure = door.wait("fail", "p", request).await.unwrap_err();
    assert_eq!((failure.code, &*failure.message), (Code::NotFound, "no such thing"));
    assert_eq!(failure.data.as_deref().map(RawValue::get), Some("7"));
    assert!(failure.was_answered);
    let count = |outcome: &str| {
        let name = "redcall_gateway_requests_total";
        opened.metric(&format!("{name}{{gateway=\"g\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((count("ok"), count("not_found")), (Some(1.0), Some(1.0)));
}

#[tokio::test]
async fn request_that_may_not_be_made_is_refused_before_it_is_queued() {
    let keys = "protocol = 'pm'\nlisten = '127.0.0.1:0'\njobs = ['a']";
    let opened = open_as(&format!("[gateways.g]\n{keys}")).await;
    let code = |job: &str, data: &str| {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        opened.door.request(job, &data, "p").map(drop).map_err(|failure| failure.code)
    };
    assert_eq!(code("b", "1"), Err(Code::UnknownJob));
    assert_eq!(code("a", "1"), Ok(()));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(code("a", &nested(63)), Ok(()));
    assert_eq!(code("a", &nested(64)), Err(Code::InvalidData));
}

#[tokio::test]
async fn token_is_compared_in_full() {
    let opened = open("token = 'secret'").await;
    let admits = |token: &str| opened.door.admits(token.as_bytes());
    assert!(admits("secret"));
    for wrong in ["", "secre", "secret2", "Secret"] {
        assert!(!admits(wrong), "{wrong}");
    }
    let open_door = open("").await;
    assert!(open_door.door.admits(b""), "the door has no token");
}

#[tokio::test]
async fn redis_that_is_away_ends_a_call_within_its_time() {
    let opened =
        open_as("[gateways.g]\nprotocol = 'pm'\nlisten = '127.0.0.1:0'\ntimeout = '1s'").await;
    let super::Opened { door, redis, .. } = opened;
    drop(redis);
    let request = door.waited_request("show", &raw(&json!(1)), "p").unwrap();
    let waiting = door.wait("show", "p", request);
    let limit = std::time::Duration::from_secs(2);
    let failure = tokio::time::timeout(limit, waiting).await.unwrap().unwrap_err();
    assert_eq!(failure.code, Code::Unavailable);
    assert!(!failure.message.contains('/'), "{}", failure.message);
}
