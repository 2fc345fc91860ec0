use std::fmt::Write as _;

use redcall_testkit::unhex;
use serde::Deserialize;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use super::*;

/// A line of the recorded session; `S` is the server, `C` an application.
#[derive(Deserialize)]
struct Segment {
    d: String,
    #[serde(default)]
    hex: String,
}

#[derive(Deserialize)]
struct Refused {
    is: String,
    bytes_hex: String,
}

fn vector(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pm/");
    std::fs::read_to_string(format!("{folder}{name}")).unwrap()
}

/// Returns each frame of the session, with its length, and the writer that its sender is like.
fn session() -> Vec<(Writer, Vec<u8>)> {
    let segments = vector("session.jsonl");
    let segments = segments.lines().map(|line| serde_json::from_str::<Segment>(line).unwrap());
    let writer = |d: &str| if d == "S>C" { Writer::Server } else { Writer::Application };
    let segments = segments.filter(|segment| !segment.hex.is_empty());
    segments.map(|segment| (writer(&segment.d), unhex(&segment.hex))).collect()
}

fn read_frame(frame: &[u8]) -> Result<Incoming, Refusal> {
    read(frame, 64)
}

/// Describes a message without its place in the session.
fn shown(message: &Incoming) -> String {
    let mut text = String::new();
    let (kind, call) = match message {
        Incoming::Request(id, call) => (format!("request {}", id.json()), call),
        Incoming::Notification(call) => ("notification".to_owned(), call),
        Incoming::Answer(Answer { id, has_session, result }) => {
            let result =
                result.as_ref().map(|data| data.get().chars().take(60).collect::<String>());
            return format!("answer {id:?} {has_session} {result:?}");
        }
    };
    let sid = call.sid.is_some();
    write!(text, "{kind} {} {sid} {}", call.method, call.data.get()).unwrap();
    text
}

#[test]
fn recorded_session_is_read() {
    let read: Vec<String> = session()
        .iter()
        .map(|(_, bytes)| {
            let mut bytes = BytesMut::from(&bytes[..]);
            let frame = Frames::new(1 << 20).decode(&mut bytes).unwrap().unwrap();
            assert!(bytes.is_empty());
            shown(&read_frame(&frame).unwrap())
        })
        .collect();
    let big = format!(r#"{{"type": 0, "content": "{}"#, "ż".repeat(36));
    let error = |id, code, message| {
        let error = PeerError { code, message: String::from(message) };
        format!("answer Some({id}) true {:?}", Err::<String, _>(error))
    };
    let wrong = "M.dataflow_run() got an unexpected keyword argument 'wrong'";
    let echo = r#"{"type": 0, "content": {"t": "zażółć", "n": 9007199254740993}}"#;
    let echo: String = echo.chars().take(60).collect();
    let expected = [
        "request 3 specification_get true {}".to_owned(),
        error(3, -32601, "Method not found"),
        r#"request 4 dataflow_run true {"dataflow": {"graphs": []}}"#.to_owned(),
        r#"notification progress_change true {"method": "dataflow_run", "progress": 0}"#.to_owned(),
        r#"notification progress_change true {"method": "dataflow_run", "progress": 50}"#
            .to_owned(),
        r#"notification progress_change true {"method": "dataflow_run", "progress": 100}"#
            .to_owned(),
        r#"request 0 graph_get true {"of": {"graphs": []}}"#.to_owned(),
        format!("answer Some(0) true {:?}", Ok::<_, ()>(r#"{"dataflow": {"graphs": ["g1"]}}"#)),
        format!(
            "answer Some(4) true {:?}",
            Ok::<_, ()>(r#"{"type": 0, "content": {"dataflow": {"graphs": ["g1"]}}}"#)
        ),
        r#"request 5 dataflow_export true {"dataflow": {}}"#.to_owned(),
        error(5, -1, "Something went very, very bad..."),
        r#"request 6 custom_echo true {"t": "zażółć", "n": 9007199254740993}"#.to_owned(),
        format!("answer Some(6) true {:?}", Ok::<_, ()>(echo)),
        "request 7 custom_nope true {}".to_owned(),
        error(7, -32601, "Method not found"),
        r#"request 8 dataflow_run true {"wrong": {}}"#.to_owned(),
        error(8, -1, wrong),
        r#"request 9 custom_big true {"n": 3000}"#.to_owned(),
        format!("answer Some(9) true {:?}", Ok::<_, ()>(big)),
    ];
    assert_eq!(read, expected);
}

#[test]
fn recorded_session_is_written_byte_for_byte() {
    const SID: &str = "YMfccOAfp8-y2YX0AAAB";
    for (writer, bytes) in session() {
        let id = |id: &Id| id.json().parse().unwrap();
        let written = match read_frame(&bytes[4..]).unwrap() {
            Incoming::Request(own, call) => {
                assert_eq!(call.sid.as_deref(), Some(SID));
                writer.request(id(&own), &call.method, SID, &call.data)
            }
            Incoming::Notification(call) => {
                let progress: serde_json::Value = serde_json::from_str(call.data.get()).unwrap();
                let number = serde_json::value::to_raw_value(&progress["progress"]).unwrap();
                writer.progress("dataflow_run", Some(SID), &number)
            }
            Incoming::Answer(answer) => {
                let id = request_id(&answer.id.unwrap().to_string());
                match answer.result {
                    Ok(data) => writer.result(&id, Some(SID), data.get()),
                    Err(error) => {
                        let code = i32::try_from(error.code).unwrap();
                        writer.error(Some(&id), Some(SID), code, &error.message)
                    }
                }
            }
        };
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&bytes));
    }
}

fn request_id(json: &str) -> Id {
    let request = format!(r#"{{"jsonrpc":"2.0","id":{json},"method":"x"}}"#);
    match read_frame(request.as_bytes()).unwrap() {
        Incoming::Request(id, _) => id,
        other => panic!("{other:?}"),
    }
}

/// The outcome of one input: of its frames, until the first error.
fn outcome(bytes: &[u8]) -> Vec<String> {
    let (mut frames, mut bytes) = (Frames::new(2 << 20), BytesMut::from(bytes));
    let mut outcomes = Vec::new();
    loop {
        match frames.decode_eof(&mut bytes) {
            Ok(Some(frame)) => outcomes.push(match read_frame(&frame) {
                Ok(message) => shown(&message),
                Err(refusal) => refusal.to_string(),
            }),
            Ok(None) => return outcomes,
            Err(error) => {
                outcomes.push(error.to_string());
                return outcomes;
            }
        }
    }
}

#[test]
fn every_hostile_input_has_its_outcome() {
    let (not_json, object) = ("the frame is not JSON in UTF-8", "the message is not an object");
    let (ends, limit) = ("bytes remaining on stream", "is over the limit of 2097152");
    let expected = [
        ("4 GiB - 1", limit),
        ("2 GiB - 1 and 100 bytes of it", limit),
        ("invalid JSON", not_json),
        ("invalid UTF-8", not_json),
        ("an empty frame", not_json),
        ("an empty batch", object),
        ("a batch", object),
        ("a text", object),
        ("a number", object),
        ("null", object),
        ("a method that is a number", "the method is not a text"),
        ("an answer to nothing", r#"answer Some(999) false Ok("{}")"#),
        ("an id that is an object", r#"answer None false Ok("1")"#),
        ("100,000 brackets", not_json),
        ("an HTTP request", limit),
        ("half a header", ends),
        ("a sid that is a number", r#"request 1 x false {"sid":5}"#),
        ("params that are a list", "request 1 x false [1]"),
        ("no params", "request 1 x false null"),
        ("another version", r#"the version is not "2.0""#),
        ("a member twice", "the message has a member twice"),
    ];
    let inputs: Vec<Refused> = serde_json::from_str(&vector("refuse.json")).unwrap();
    assert_eq!(inputs.len(), expected.len());
    for (input, (name, wanted)) in inputs.iter().zip(expected) {
        assert_eq!(input.is, name);
        let outcome = outcome(&unhex(&input.bytes_hex));
        assert!(outcome.len() == 1 && outcome[0].contains(wanted), "{name}: {outcome:?}");
    }
}

fn request_with(data: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"x","params":{{"sid":"S","params":{data}}}}}"#)
}

#[test]
fn values_pass_unchanged() {
    for data in [
        r#"{"z":1,"a":{},"Z":[],"é":""}"#,
        "123456789012345678901234567890",
        "[1.50,-0.0,1e400,1E+2]",
        r#""\u0000 \\ud800 \ud83d\ude00 😀 \/""#,
        r#"{ "a" : [ 1 , 2 ] }"#,
        "null",
    ] {
        match read_frame(request_with(data).as_bytes()).unwrap() {
            Incoming::Request(_, call) => assert_eq!(call.data.get(), data),
            other => panic!("{other:?}"),
        }
        let answer =
            format!(r#"{{"id":1,"jsonrpc":"2.0","result":{{"sid":"S","result":{data}}}}}"#);
        match read_frame(answer.as_bytes()).unwrap() {
            Incoming::Answer(answer) => assert_eq!(answer.result.unwrap().get(), data),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn data_beyond_redcalls_values_are_refused_under_their_id() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let refused = [
        (nested(64), "the data nest too deep"),
        (r#""\ud800""#.to_owned(), "a text has half of a surrogate pair"),
        (r#""\ud800x\udc00""#.to_owned(), "a text has half of a surrogate pair"),
        (r#"["\\\udc00"]"#.to_owned(), "a text has half of a surrogate pair"),
        (r#"{"\ud800\ud800":1}"#.to_owned(), "a text has half of a surrogate pair"),
    ];
    for (data, wanted) in refused {
        match read_frame(request_with(&data).as_bytes()) {
            Err(Refusal::Data { id: Some(id), sid: Some(sid), why }) => {
                assert_eq!((id.json(), sid.as_str(), why), ("7", "S", wanted));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(read_frame(request_with(&nested(63)).as_bytes()).is_ok());
}

#[test]
fn deep_nesting_outside_of_the_data_needs_no_stack() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let ignored = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","other":{deep}}}"#);
    assert!(matches!(read_frame(ignored.as_bytes()), Ok(Incoming::Request(..))));
    assert!(matches!(read_frame(deep.as_bytes()), Err(Refusal::Message(_))));
}

#[test]
fn ids_of_requests_return_as_they_came() {
    for id in ["0", "1.50", "\"a\\u0000\"", "null", "123456789012345678901234567890"] {
        let frame = Writer::Server.result(&request_id(id), Some("S"), "1");
        let wanted =
            format!(r#"{{"jsonrpc": "2.0", "id": {id}, "result": {{"sid": "S", "result": 1}}}}"#);
        assert_eq!(&frame[4..], wanted.as_bytes());
    }
}

#[test]
fn written_requests_have_params_in_an_envelope() {
    let null = serde_json::value::RawValue::NULL;
    let frame = Writer::Server.request(1, "a\"b", "S", null);
    let wanted = concat!(
        r#"{"jsonrpc": "2.0", "id": 1, "method": "a\"b", "#,
        r#""params": {"sid": "S", "params": {}}}"#
    );
    assert_eq!(&frame[4..], wanted.as_bytes());
}

#[test]
fn written_error_without_session_is_bare() {
    let frame = Writer::Application.error(None, None, -32700, "m");
    let wanted = r#"{"error": {"code": -32700, "message": "m"}, "id": null, "jsonrpc": "2.0"}"#;
    assert_eq!(&frame[4..], wanted.as_bytes());
}

#[test]
fn order_of_the_applications_library_is_known() {
    let library = r#"{"method": "m", "params": {}, "id": 0, "jsonrpc": "2.0"}"#;
    for text in [library, "{\"method\":\"m\",\"jsonrpc\" :\n\"2.0\" } "] {
        assert!(ends_with_version(text.as_bytes()), "{text}");
    }
    for text in [
        r#"{"jsonrpc": "2.0", "id": 0, "method": "m"}"#,
        r#"{"jsonrpc": "2.0", "method": "m", "params": {"jsonrpc": "2.0"}}"#,
        r#"{"jsonrpc": "2.0", "method": "\"jsonrpc\": \"2.0\""}"#,
        "",
        "}",
    ] {
        assert!(!ends_with_version(text.as_bytes()), "{text}");
    }
}
