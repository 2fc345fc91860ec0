//! The run of docs/guide/gateway-zmtp.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use serde_json::json;

use crate::peers::{Python, Version};
use crate::support::Stage;

/// Returns the block of the guide after this mark.
fn block(mark: &str) -> String {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/gateway-zmtp.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, after) = guide.split_once(&format!("<!-- test:{mark} -->\n```")).unwrap();
    let (_, block) = after.split_once('\n').unwrap();
    block.split_once("\n```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guide_commands_a_device_and_reads_its_events() {
    let Some(mut python) = Python::start(Version::V0_12) else { return };
    let stage = Stage::new().await;
    let text = block("settings");
    let text =
        text.replace("127.0.0.1:5557", "127.0.0.1:0").replace("127.0.0.1:5556", "127.0.0.1:0");
    async fn start_acquisition() -> redcall_worker::Json<serde_json::Value> {
        redcall_worker::Json(json!({"started": true}))
    }
    let _worker =
        stage.worker(|worker| worker.handler("start_acquisition", start_acquisition)).await;
    let gateway = stage.gateway(&text).await;
    let commands = gateway.address("autotrainer", "listen_commands");
    let events = gateway.address("autotrainer", "listen_events");
    let program = block("console");
    let program = program.replace("127.0.0.1:5557", &commands.to_string());
    let program = program.replace("127.0.0.1:5556", &events.to_string());
    let printed = python.call("run", json!({"program": program}));
    assert_eq!(printed.as_str().unwrap().trim(), block("printed").trim());
}
