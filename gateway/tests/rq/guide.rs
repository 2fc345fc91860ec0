//! The run of `docs/guide/gateway-rq.md`.

use std::process::Command;

use redcall_worker::Worker;

use crate::python::{address, pythons};
use crate::support::{RunningWorker, Stage};

const PAGE: &str = include_str!("../../../docs/guide/gateway-rq.md");

/// The address of both in the page.
const ADDRESS: &str = "redis://127.0.0.1:6379/0";

/// Returns the first block of code in this language.
fn block(language: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

#[tokio::test]
async fn run_of_the_guide_prints_its_output() {
    for (version, python) in pythons() {
        let stage = Stage::new().await;
        let settings = block("toml").replace(ADDRESS, &stage.redis.url());
        let mut of_worker = stage.settings(&settings);
        of_worker.gateways.clear();
        let _worker = RunningWorker::start(Worker::from_settings(of_worker).unwrap());
        let _gateway = stage.gateway(&settings).await;
        let code = block("python").replace(ADDRESS, &address(&stage));
        // The forms of the oldest versions, which have other names for the same.
        let code = match version {
            "0.10.0" => code
                .replace("import Redis\n", "import StrictRedis as Redis\n")
                .replace("json.loads(answer)", "json.loads(answer.decode())"),
            _ => code,
        };
        let run = move || Command::new(python).args(["-c", &code]).output().unwrap();
        let ended = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let printed = String::from_utf8(ended.stdout).unwrap();
        let wanted = block("python").lines().last().unwrap().trim_start_matches("# ");
        assert_eq!(printed.trim(), wanted, "rq {version}");
    }
}
