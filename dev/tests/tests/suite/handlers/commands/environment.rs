//! The environment of commands and processes.

use std::collections::BTreeMap;

use redcall_client::Client;
use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_tests::Bench;
use serde_json::json;

use crate::support::{Logged, Ran, SettingsFile};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Answers with its whole environment.
const COMMAND: &str =
    r#"["sh", "-c", "env | sed 's/\"//g; s/.*/\"&\"/' | paste -sd, | sed 's/.*/[&]/'"]"#;
const PROCESS: &str = r#"["python3", "environment.py"]"#;
const PYTHON: &str = r#"
import json, os, sys
for line in sys.stdin:
    id = json.loads(line)["id"]
    result = [f"{name}={value}" for name, value in os.environ.items()]
    if "init" in line: result = {"state": 1, "answer": result}
    print(json.dumps({"id": id, "result": result}))
    sys.stdout.flush()
"#;

fn settings() -> String {
    let jobs = [("command", COMMAND), ("process", PROCESS)].map(|(kind, program)| {
        format!(
            "[jobs.plain_{kind}]\n{kind} = {program}\n\
             [jobs.some_{kind}]\n{kind} = {program}\nenv = ['MINE', 'AWS_*', 'ABSENT']\n\
             [jobs.all_{kind}]\n{kind} = {program}\ninherit_env = true\n"
        )
    });
    let pool = format!(
        "[pools.shared]\nprocess = {PROCESS}\nenv = ['MINE']\n[jobs.pooled]\npool = 'shared'\n"
    );
    let service = format!("[services.s]\nprocess = {PROCESS}\nenv = ['MINE']\n");
    jobs.concat() + &pool + &service
}

struct Served {
    // First, since it takes its leave of a server that still runs.
    _worker: Logged,
    client: Client,
    _bench: Bench,
    _file: SettingsFile,
}

impl Served {
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        let file = SettingsFile::new(&settings());
        std::fs::write(file.dir().join("environment.py"), PYTHON).unwrap();
        let mut env = BTreeMap::from([("REDIS_URL".to_owned(), bench.redis.url())]);
        for (name, value) in [
            ("REDCALL__AUTH__KEYS__WEB__SECRET", SECRET),
            ("REDCALL__WORKER__CONCURRENCY", "16"),
            ("REDCALL_TOKEN", "redcall1.x.y.z"),
            ("COPY_OF_IT", SECRET),
            ("MINE", "mine"),
            ("AWS_REGION", "eu"),
            ("OTHER", "other"),
            ("LC_ALL", "C.UTF-8"),
            ("HOME", "/nowhere"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &env);
        worker.line(": ready").await;
        let key = AuthKey { secret: Secret::new(SECRET), jobs: vec!["*".to_owned()] };
        let (keys, sign_with) = ([("web".to_owned(), key)].into(), Some("web".to_owned()));
        bench.settings.auth = Some(AuthSettings { keys, sign_with, required: true });
        let client = bench.client().await;
        Self { _worker: worker, client, _bench: bench, _file: file }
    }

    async fn seen(&self, job: &str) -> BTreeMap<String, String> {
        let answer = self.client.call_and_wait(job, &json!({})).await.unwrap();
        variables(answer.json().unwrap())
    }
}

fn variables(all: Vec<String>) -> BTreeMap<String, String> {
    let pairs = all.iter().filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[track_caller]
fn has_exactly(job: &str, seen: &BTreeMap<String, String>, wanted: &[&str]) {
    for name in ["MINE", "AWS_REGION", "OTHER"] {
        assert_eq!(seen.contains_key(name), wanted.contains(&name), "{job}: {name} in {seen:?}");
    }
    assert_eq!((&*seen["LC_ALL"], &*seen["HOME"]), ("C.UTF-8", "/nowhere"), "{job}");
    assert!(seen.contains_key("PATH"), "{job}");
    let ours = ["REDCALL_JOB_ID", "REDCALL_JOB_NAME", "REDCALL_BUDGET_MS"];
    for (name, value) in seen {
        let is_secret = name == "REDIS_URL" || name.starts_with("REDCALL_");
        assert!(!is_secret || ours.contains(&&**name), "{job} sees {name}");
        assert!(!value.contains(SECRET), "{job} sees the secret in {name}");
    }
}

#[tokio::test]
async fn programs_see_named_variables_and_no_secret() {
    let served = Served::new().await;
    for kind in ["command", "process"] {
        for (which, wanted) in [
            ("plain", &[][..]),
            ("some", &["MINE", "AWS_REGION"]),
            ("all", &["MINE", "AWS_REGION", "OTHER"]),
        ] {
            let job = format!("{which}_{kind}");
            has_exactly(&job, &served.seen(&job).await, wanted);
        }
    }
    has_exactly("pooled", &served.seen("pooled").await, &["MINE"]);
    let answer = served.client.service("s").initialize(&1).await.unwrap();
    has_exactly("s", &variables(answer.json().unwrap()), &["MINE"]);
}

#[tokio::test]
async fn variable_that_holds_a_secret_cannot_be_named() {
    let file = SettingsFile::new(
        "[jobs.a]\ncommand = ['true']\nenv = ['COPY_OF_IT']\n\
         [auth.keys.web]\nsecret_file = 'key'\n",
    );
    std::fs::write(file.dir().join("key"), SECRET).unwrap();
    let env = [("COPY_OF_IT".to_owned(), format!("x{SECRET}"))].into();
    let ran = Ran::new("redcall-worker", &["check", "--settings", file.arg()], &env).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    ran.stderr_has("jobs.a.command: `env` names `COPY_OF_IT`");
}
