//! Jobs recorded from python-rpc on all versions of rq.

use redcall_testkit::redis::AsyncCommands as _;
use redcall_testkit::unhex;
use redcall_worker::Json;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rq_redis::{DOOR, RqRedis, uuid};
use crate::support::Stage;

const VERSIONS: [&str; 6] = [
    include_str!("../vectors/rq/0.7.1-py3.6.jobs.json"),
    include_str!("../vectors/rq/0.10.0-py3.6.jobs.json"),
    include_str!("../vectors/rq/0.13.0-py3.6.jobs.json"),
    include_str!("../vectors/rq/1.0-py3.8.jobs.json"),
    include_str!("../vectors/rq/1.10.1-py3.11.jobs.json"),
    include_str!("../vectors/rq/1.16.2-py3.11.jobs.json"),
];

const ACCEPT: &str = include_str!("../vectors/rq/accept.json");

/// The fields of a recorded job: texts, or `{"hex"}`.
fn bytes(field: &Value) -> Vec<u8> {
    match field.as_str() {
        Some(text) => text.into(),
        None => unhex(field["hex"].as_str().unwrap()),
    }
}

#[tokio::test]
async fn recorded_jobs_of_each_rq_are_answered() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let _gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    for version in VERSIONS {
        let jobs: Vec<Value> = serde_json::from_str(version).unwrap();
        for job in &jobs {
            let key = job["job_key"].as_str().unwrap();
            let fields: Vec<(&String, Vec<u8>)> =
                job["fields"].as_object().unwrap().iter().map(|(k, v)| (k, bytes(v))).collect();
            let () = rq.0.hset_multiple(key, &fields).await.unwrap();
            let id = key.strip_prefix("rq:job:").unwrap();
            let () = rq.0.rpush(job["queue"].as_str().unwrap(), id).await.unwrap();
            let envelope = &job["data"]["means"][2][1];
            if let Some(response_key) = envelope["response_key"].as_str() {
                let text = rq.answer_text(response_key).await;
                let answer: Value = serde_json::from_str(&text).unwrap();
                let id = answer["id"].as_str().unwrap();
                // The form of the recorded answers, byte for byte.
                let wanted = format!(
                    "{{\"data\": {{\"answer\": 2}}, \"id\": \"{id}\", \
                     \"response_key\": \"{response_key}\"}}"
                );
                assert_eq!(text, wanted);
            }
            rq.ends(id, "finished").await;
            let ttl = rq.ttl(key).await;
            assert!((400..=500).contains(&ttl), "{ttl}");
            let taken: Option<String> = rq.0.hget(key, "redcall_taken_at").await.unwrap();
            assert_eq!(taken, None);
        }
    }
    rq.inboxes_are_empty().await;
}

#[tokio::test]
async fn plain_pickles_of_all_protocols_reach_the_handler_unchanged() {
    let stage = Stage::new().await;
    let (sender, mut data) = tokio::sync::mpsc::unbounded_channel();
    let note = move |Json(data): Json<Box<RawValue>>| {
        sender.send(data.get().to_owned()).unwrap();
        async { Json(true) }
    };
    let _worker = stage.worker(|worker| worker.handler("note", note)).await;
    let _gateway = stage.gateway(&format!("{DOOR}names = {{ add = \"note\" }}\n")).await;
    let mut rq = RqRedis::of(&stage).await;
    let all: Vec<Value> = serde_json::from_str(ACCEPT).unwrap();
    assert_eq!(all.len(), 28);
    for vector in &all {
        for form in ["pickle_hex", "zlib_hex"] {
            let id = uuid();
            rq.enqueue("default", &id, &unhex(vector[form].as_str().unwrap())).await;
            let wanted = vector["data_as_json"].as_str().unwrap();
            let got = data.recv().await.unwrap();
            let value = |json| serde_json::from_str::<Value>(json).unwrap();
            assert_eq!(value(&got), value(wanted), "{got}");
            // A number beyond 64 bits, which a JSON value would round.
            assert_eq!(
                got.contains("1180591620717411303424"),
                wanted.contains("1180591620717411303424")
            );
            rq.ends(&id, "finished").await;
        }
    }
}
