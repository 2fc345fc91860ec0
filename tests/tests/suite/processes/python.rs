//! `python/redcall_process.py`: the functions of a module as jobs.

use redcall_client::{Code, Update, WireError};
use serde_json::{Value, json};

use super::Served;
use crate::support::failed;

const MODULE: &str = r#"
import threading
from redcall_process import Cancelled, Error, progress

print("this is not an answer")

def ask(what, **more):
    print("nor is this")
    match what:
        case "args": return {"more": more}
        case "raise": raise ValueError("so it is")
        case "refuse": raise Error("not there", -32003, {"which": 7})
        case "set": return {1, 2}
        case "data": raise Error("x", data={1, 2})
        case "exit": raise SystemExit(3)
        case "surrogate": raise ValueError("\udcff")
        case "nan": return float("nan")
        case "slow":
            try:
                progress({"percent": 10})
                threading.Event().wait(600)
            except Cancelled:
                open("cancelled", "w").close()
                raise
"#;

async fn served() -> Served {
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/../python/redcall_process.py");
    let served = Served::with(&["python3", helper, "module"], |_| {}).await;
    std::fs::write(served.file.dir().join("module.py"), MODULE).unwrap();
    served
}

async fn error(served: &Served, data: Value) -> WireError {
    failed(served.ask(&data).await)
}

#[tokio::test]
async fn data_are_arguments_and_exceptions_are_errors() {
    let served = served().await;
    let answer = served.ask(&json!({"what": "args", "a": [1], "b": "é"})).await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap(), json!({"more": {"a": [1], "b": "é"}}));
    let by_place = served.ask(&json!(["args"])).await.unwrap();
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
    for (what, message) in [("exit", "SystemExit: 3"), ("surrogate", "ValueError: ?")] {
        assert_eq!(error(&served, json!({"what": what})).await.message, message);
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
async fn a_cancelled_function_hears_of_it() {
    let served = served().await;
    let mut stream =
        served.client.request("ask").data(&json!({"what": "slow"})).stream().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, Update::Progress(data) if data.get() == r#"{"percent": 10}"#));
    drop(stream);
    served.has_made("cancelled").await;
    served.ask(&json!({"what": "args"})).await.unwrap();
}
