//! `python/redcall_process.py`: the functions of a module as jobs.

use std::time::Duration;

use redcall_client::{Code, CompletionToken, Update, WireError};
use redcall_tests::Bench;
use serde_json::{Value, json};

use super::Served;
use crate::support::failed;

const MODULE: &str = r#"
import asyncio, threading
from redcall_process import Cancelled, Error, defer, job, progress

CONCURRENCY = 4
print("this is not an answer")

class Broken(Exception):
    def __str__(self): raise KeyboardInterrupt

class Evil(dict):
    def items(self): raise KeyboardInterrupt

def ask(what, **more):
    print("nor is this")
    match what:
        case "args": return {"more": more}
        case "raise": raise ValueError("so it is")
        case "refuse": raise Error("not there", -32003, {"which": 7})
        case "set": return {1, 2}
        case "data": raise Error("x", data={1, 2})
        case "exit": raise SystemExit(3)
        case "keyboard": raise KeyboardInterrupt("by itself")
        case "base": raise BaseException("of all")
        case "generator": raise GeneratorExit()
        case "untold": raise Broken()
        case "evil": return Evil(a=1)
        case "code": raise Error("no code", "x")
        case "surrogate": raise ValueError("\udcff")
        case "half": return ["whole", "half \ud83d"]
        case "half progress": progress("\ud83d")
        case "half key": return {"\udc00": 1}
        case "nan": return float("nan")
        case "job": return [job().id, job().attempt, job().headers, job().budget_ms > 0]
        case "nothing": return job() is None
        case "later": return defer("soon", 60)
        case "awaited": return asked("job")
        case "slow":
            try:
                progress({"percent": 10})
                threading.Event().wait(600)
            except Cancelled:
                open("cancelled", "w").close()
                raise

async def asked(what):
    await asyncio.get_running_loop().run_in_executor(None, int)
    match what:
        case "job": return [job().id, job().attempt, job().headers, job().budget_ms > 0]
        case "exit": raise SystemExit(3)
        case "keyboard": raise KeyboardInterrupt("by itself")
        case "set": return {1, 2}
        case "later": open("token", "w").write(await defer("soon"))
        case "orphan": asyncio.create_task(orphan())
        case "slow":
            progress({"percent": 10})
            try: await asyncio.Event().wait()
            except asyncio.CancelledError:
                open("cancelled too", "w").close()
                raise

async def orphan(): raise SystemExit(4)
"#;

async fn served() -> Served {
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/redcall_process.py");
    let mut bench = Bench::new().await;
    for name in ["ask", "asked"] {
        bench.process(name, &["python3", helper, "module"]);
    }
    let served = Served::of(bench, Duration::from_secs(30)).await;
    std::fs::write(served.file.dir().join("module.py"), MODULE).unwrap();
    served
}

async fn error_of(served: &Served, job: &str, what: &str) -> WireError {
    failed(served.client.call_and_wait(job, &json!({"what": what})).await)
}

async fn error(served: &Served, data: Value) -> WireError {
    failed(served.call(&data).await)
}

#[tokio::test]
async fn data_are_arguments_and_exceptions_are_errors() {
    let served = served().await;
    let answer = served.call(&json!({"what": "args", "a": [1], "b": "é"})).await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({"more": {"a": [1], "b": "é"}}));
    let by_place = served.call(&json!(["args"])).await.unwrap();
    assert_eq!(by_place.json::<Value>().unwrap(), json!({"more": {}}));
    for (what, code, message, data) in [
        ("raise", Code::HandlerFailed, "ValueError: so it is", json!({"type": "ValueError"})),
        ("refuse", Code::NotFound, "not there", json!({"which": 7})),
    ] {
        let error = error(&served, json!({"what": what})).await;
        assert_eq!((error.code, error.message.as_str()), (code, message));
        let given: Value = serde_json::from_str(error.data.unwrap().get()).unwrap();
        assert_eq!(given, data);
    }
    for what in ["set", "nan", "data"] {
        let error = error(&served, json!({"what": what})).await;
        assert!(error.message.contains("JSON"), "{error}");
    }
    for data in [json!({}), json!({"whose": 1}), json!(["args", 2])] {
        assert_eq!(error(&served, data).await.code, Code::InvalidData);
    }
}

#[tokio::test]
async fn cancelled_function_is_notified() {
    let served = served().await;
    let mut stream =
        served.client.request("ask").data(&json!({"what": "slow"})).stream().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, Update::Progress(data) if data.get() == r#"{"percent": 10}"#));
    drop(stream);
    served.has_made("cancelled").await;
    served.call(&json!({"what": "args"})).await.unwrap();
}

#[tokio::test]
async fn process_survives_any_exception_of_a_function() {
    let served = served().await;
    for (job, what, message) in [
        ("ask", "exit", "SystemExit: 3"),
        ("ask", "keyboard", "KeyboardInterrupt: by itself"),
        ("ask", "base", "BaseException: of all"),
        ("ask", "generator", "GeneratorExit: "),
        ("ask", "untold", "Broken: (no text available)"),
        ("ask", "evil", "KeyboardInterrupt: "),
        ("ask", "code", "no code"),
        ("asked", "exit", "SystemExit: 3"),
        ("asked", "keyboard", "KeyboardInterrupt: by itself"),
    ] {
        let error = error_of(&served, job, what).await;
        assert_eq!((error.code, &*error.message), (Code::HandlerFailed, message), "{what}");
        // Where the process had died, it would have run again.
        assert_eq!(error.attempt, Some(1), "{what}");
    }
    let error = error_of(&served, "asked", "set").await;
    assert!(error.message.contains("JSON") && error.attempt == Some(1), "{error}");
    served.client.call_and_wait("asked", &json!({"what": "orphan"})).await.unwrap();
    let answer = served.client.call_and_wait("asked", &json!({"what": "job"})).await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap()[0], answer.id);
}

#[tokio::test]
async fn half_surrogates_are_reported_and_not_changed() {
    let served = served().await;
    assert_eq!(error_of(&served, "ask", "surrogate").await.message, "ValueError: \\udcff");
    for what in ["half", "half progress", "half key"] {
        let error = error_of(&served, "ask", what).await;
        assert_eq!((error.code, error.attempt), (Code::HandlerFailed, Some(1)), "{what}");
        let named = ["\\ud83d", "\\udc00"].iter().any(|half| error.message.contains(half));
        assert!(named && error.message.contains("surrogates not allowed"), "{error}");
    }
    let whole = json!({"what": "args", "a": "\u{1f600}"});
    let answer = served.call(&whole).await.unwrap().json::<Value>().unwrap();
    assert_eq!(answer, json!({"more": {"a": "\u{1f600}"}}));
}

#[tokio::test]
async fn function_knows_its_job_and_defers_its_answer() {
    let served = served().await;
    for (job, what) in [("ask", "job"), ("asked", "job"), ("ask", "awaited")] {
        let request = served.client.request(job).data(&json!({"what": what})).header("k", "v");
        let answer = request.wait().await.unwrap();
        let expected = json!([answer.id, 1, {"k": "v"}, true]);
        assert_eq!(answer.json::<Value>().unwrap(), expected, "{job} {what}");
    }
    let request = served.client.request("asked").data(&json!({"what": "later"}));
    let mut stream = request.stream().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, Update::Deferred { data, .. } if data.get() == r#""soon""#));
    served.has_made("token").await;
    let path = served.file.dir().join("token");
    let token = redcall_testkit::eventually("the token", async || {
        std::fs::read_to_string(&path).unwrap().parse::<CompletionToken>().ok()
    });
    assert!(served.client.settle(&token.await, Ok("done")).await.unwrap());
    let last = stream.next().await.unwrap().unwrap();
    assert!(matches!(last, Update::Done(answer) if answer.data.get() == r#""done""#));
    let mut stream =
        served.client.request("ask").data(&json!({"what": "later"})).stream().await.unwrap();
    assert!(matches!(stream.next().await.unwrap().unwrap(), Update::Deferred { .. }));
}

#[tokio::test]
async fn cancelled_async_function_is_notified() {
    let served = served().await;
    let request = served.client.request("asked").data(&json!({"what": "slow"}));
    let mut stream = request.stream().await.unwrap();
    assert!(matches!(stream.next().await.unwrap().unwrap(), Update::Progress(_)));
    drop(stream);
    served.has_made("cancelled too").await;
    served.client.call_and_wait("asked", &json!({"what": "job"})).await.unwrap();
}
