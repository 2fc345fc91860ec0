//! All recorded and made pickles of `tests/vectors`.

use std::time::Duration;

use redcall_common::name::is_job_name;
use redcall_gateway::pickle::{Bounds, Classes, Refused, Writer, inflate, read, read_objects};
use redcall_testkit::unhex;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{ALLOCATOR, BOUNDS, processor_time};

const ACCEPT: &str = include_str!("../vectors/rq/accept.json");
const REFUSE: &str = include_str!("../vectors/rq/refuse.json");
const WRITE: &str = include_str!("../vectors/rq/write.json");
const OBJECTS: &str = include_str!("../vectors/bgpy/pickles.json");

const BGPY: Classes = Classes {
    object: ("bgpy.core.message", "Message"),
    member: ("bgpy.core.message", "MessageType"),
    highest: 5,
};

/// Reads a job as python-rpc writes it, and returns its name and its data.
fn job(data: &[u8]) -> Result<(String, String), Refused> {
    let inflated = match data.first() {
        Some(0x78) => inflate(data, BOUNDS.bytes)?,
        _ => data.to_vec(),
    };
    let document = read(&inflated, &BOUNDS)?;
    let call = document.call()?;
    let [name, envelope] = call.arguments[..] else { return Err(Refused::Shape("arguments")) };
    let name = name.text().filter(|name| is_job_name(name)).ok_or(Refused::Shape("name"))?;
    if call.function != "rpc.python_rq_backend.dispatch" {
        return Err(Refused::Shape("function"));
    }
    envelope.get("id").and_then(|id| id.text()).ok_or(Refused::Shape("id"))?;
    let key = envelope.get("response_key").ok_or(Refused::Shape("no response key"))?;
    if !key.is_none() && key.text().is_none_or(|key| key.len() != 36) {
        return Err(Refused::Shape("response key"));
    }
    let data = envelope.get("data").ok_or(Refused::Shape("no data"))?;
    Ok((name.to_owned(), data.json()?))
}

/// Returns JSON without spaces, by way of our writer and reader.
fn compact(json: &str) -> String {
    let mut writer = Writer::new();
    writer.json(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
    let pickle = writer.finish();
    read(&pickle, &BOUNDS).unwrap().root().json().unwrap()
}

#[test]
fn jobs_of_all_protocols_are_read() {
    let vectors: Vec<Value> = serde_json::from_str(ACCEPT).unwrap();
    assert_eq!(vectors.len(), 28);
    for vector in vectors {
        let pickle = unhex(vector["pickle_hex"].as_str().unwrap());
        let zlib = unhex(vector["zlib_hex"].as_str().unwrap());
        assert_eq!(inflate(&zlib, BOUNDS.bytes).as_ref(), Ok(&pickle));
        let expected = vector["data_as_json"].as_str().unwrap();
        let found = job(&zlib);
        assert_eq!(job(&pickle), found);
        assert_eq!(found, Ok((vector["job"].as_str().unwrap().to_owned(), compact(expected))));
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&found.unwrap().1), parsed(expected));
    }
}

#[test]
fn hostile_jobs_are_refused_in_little_time_and_memory() {
    let vectors: Vec<Value> = serde_json::from_str(REFUSE).unwrap();
    assert_eq!(vectors.len(), 36);
    // The figure is a release build's.
    let max = Duration::from_millis(if cfg!(debug_assertions) { 1_000 } else { 100 });
    for vector in vectors {
        let data = unhex(vector["data_hex"].as_str().unwrap());
        let time = processor_time(|| {
            let refused = job(&data).expect_err(vector["is"].as_str().unwrap());
            eprintln!("{}: {refused}", vector["is"]);
        });
        assert!(time < max, "{}: {time:?}", vector["is"]);
    }
    let allocated = ALLOCATOR.max_allocated();
    assert!(allocated < 32 << 20, "{allocated} bytes");
    assert!(!std::path::Path::new("/tmp/pwned").exists());
}

#[test]
fn job_for_all_workers_is_written() {
    let vectors: Vec<Value> = serde_json::from_str(WRITE).unwrap();
    let means = &vectors[0]["means"];
    let mut writer = Writer::new();
    writer.mark().text(means[0].as_str().unwrap()).unwrap().none();
    writer.mark().text(means[2][0].as_str().unwrap()).unwrap();
    let envelope = means[2][1].to_string();
    writer.json(&RawValue::from_string(envelope).unwrap()).unwrap().tuple();
    writer.dict().end_dict().tuple();
    assert_eq!(writer.finish(), unhex(vectors[0]["pickle_hex"].as_str().unwrap()));
}

#[test]
fn objects_of_three_pythons_are_read() {
    let vectors: Vec<Value> = serde_json::from_str(OBJECTS).unwrap();
    assert_eq!(vectors.len(), 84);
    let types = ["INIT", "EXEC", "EXIT", "AUTH", "OK", "ERROR"];
    for vector in vectors {
        let pickle = unhex(vector["pickle_hex"].as_str().unwrap());
        let document = read_objects(&pickle, &BOUNDS, &BGPY).unwrap();
        let state = document.root().state().unwrap();
        let member = state.get("type").unwrap().member().unwrap();
        assert_eq!(vector["type"], types[usize::from(member)]);
        let args = state.get("args").unwrap();
        match args.get("init_task") {
            Some(task) => {
                let (module, name) = task.reference().unwrap();
                let expected = format!("GLOBAL {module}.{name}");
                assert_eq!(vector["args"]["init_task"], expected);
                assert_eq!(args.json(), Err(Refused::NotJson("a reference")));
            }
            None => assert_eq!(args.json().unwrap(), vector["args"].to_string()),
        }
        // Plain data have no objects.
        assert!(matches!(read(&pickle, &BOUNDS), Err(Refused::Instruction(b'c' | 0x93))));
    }
}

#[test]
fn bounds_apply_to_pickle_and_json() {
    let pickle = b"\x80\x02]K\x01a.";
    let json = |bytes, depth| {
        read(pickle, &Bounds { bytes, depth }).and_then(|document| document.root().json())
    };
    assert_eq!(json(7, 1).as_deref(), Ok("[1]"));
    assert_eq!(json(6, 1), Err(Refused::TooLarge(6)));
    assert_eq!(json(7, 0), Err(Refused::TooDeep(0)));
}
