//! The run of the guide's page, with its own schema, settings and client.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::python::python;
use crate::support::{Program, Stage};

const PAGE: &str = include_str!("../../../docs/guide/gateway-grpc-avro.md");

/// The code block after a marker.
fn block(marker: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("<!-- test:{marker} -->")).expect("the marker");
    let (_, after) = after.split_once("```").expect("a block");
    let (_, after) = after.split_once('\n').expect("its first line");
    after.split_once("\n```").expect("its end").0
}

/// The lines that the page shows as the client's output.
fn shown() -> &'static str {
    let (_, after) = PAGE.split_once("$ python3 client.py\n").expect("the command");
    after.split_once("```").expect("its end").0
}

#[tokio::test]
async fn run_of_the_page_prints_what_it_shows() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    stage.write("template.avsc", block("grpc-avro-schema"));
    let settings = block("grpc-avro-settings")
        .replace("redis://127.0.0.1:6379", &stage.redis.url())
        .replace("127.0.0.1:50051", "127.0.0.1:0")
        .replace("127.0.0.1:8081", "127.0.0.1:0");
    let file = stage.write("redcall.toml", format!("{settings}\n[log]\nformat = \"json\"\n"));
    let file = file.to_str().unwrap();
    let checked = Program::run(&["check", "--settings", file]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let program = Program::start(&["--settings", file]);
    let address = program.address("scix", "listen").await;
    let settings = redcall_gateway::Settings::load_from(
        Some(Path::new(file)),
        stage.folder(),
        &std::collections::BTreeMap::new(),
    );
    let _worker = stage.worker_of(settings.unwrap(), |worker| worker).await;
    let client = block("grpc-avro-client").replace("127.0.0.1:50051", &address.to_string());
    let output = Command::new(python)
        .arg("-c")
        .arg(client)
        .current_dir(stage.folder())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), shown());
}
