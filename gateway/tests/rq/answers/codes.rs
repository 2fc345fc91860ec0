//! Every code on the wire.

use redcall_client::Code;
use redcall_testkit::redis::AsyncCommands as _;
use serde_json::Value;

use crate::rq_redis::{DOOR, RqRedis, call, uuid};
use crate::support::Stage;
use crate::support::codes::{message, with_codes};

#[tokio::test]
async fn every_code_has_its_name_on_the_wire() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| with_codes(worker, "ends")).await;
    let _gateway = stage.gateway(DOOR).await;
    let mut rq = RqRedis::of(&stage).await;
    for code in Code::ALL {
        let (id, key) = (uuid(), uuid());
        rq.enqueue("default", &id, &call("ends", &format!("\"{code}\""), Some(&key))).await;
        let text = rq.answer_text(&key).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let (answer_id, message) = (answer["id"].as_str().unwrap(), message(*code));
        let wanted = format!(
            "{{\"data\": {{\"error\": {{\"code\": \"{code}\", \"message\": \"{message}\"}}}}, \
             \"id\": \"{answer_id}\", \"response_key\": \"{key}\"}}"
        );
        assert_eq!(text, wanted);
        assert_eq!(rq.status(&id).await.as_deref(), Some("failed"), "{code}");
        let is_left: bool = rq.0.exists(&key).await.unwrap();
        assert!(!is_left, "{code}: answered twice");
    }
    rq.inboxes_are_empty().await;
}
