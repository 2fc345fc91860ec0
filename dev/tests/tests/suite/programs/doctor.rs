//! `redcall doctor`: each possible fault, and its finding.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod hidden;
mod redis_itself;
mod work;

use std::collections::BTreeMap;

use redcall_testkit::TestRedis;
use redcall_tests::Bench;
use serde_json::{Value, json};

use crate::support::{Ran, SettingsFile};

type Env = BTreeMap<String, String>;

/// The findings of `redcall doctor`.
pub(super) struct Seen {
    code: i32,
    is_ok: bool,
    findings: Vec<Value>,
}

/// Runs it.
pub(super) async fn doctor(args: &[&str], env: &Env) -> Seen {
    let ran = Ran::new("redcall", &[&["doctor", "--json"], args].concat(), env).await;
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(shown.as_object().unwrap().len(), 2, "{shown}");
    let findings = shown["findings"].as_array().unwrap().clone();
    let is_ok = shown["ok"].as_bool().unwrap();
    let is_bad = |finding: &Value| finding["level"] == "warning" || finding["level"] == "problem";
    assert_eq!(is_ok, !findings.iter().any(is_bad), "{shown}");
    Seen { code: ran.code, is_ok, findings }
}

impl Seen {
    /// Asserts that there is a finding of this check and level whose text has `what`.
    #[track_caller]
    pub(super) fn has(&self, check: &str, level: &str, what: &str) {
        let is_it = |finding: &&Value| {
            finding["check"] == check && finding["what"].as_str().unwrap().contains(what)
        };
        let found = self.findings.iter().find(is_it);
        let found = found.unwrap_or_else(|| panic!("no {check} `{what}`: {:#?}", self.findings));
        assert_eq!(found["level"], level, "{found}");
        if level == "warning" || level == "problem" {
            let is_explained =
                |field: &str| found[field].as_str().is_some_and(|text| text.len() > 10);
            assert!(is_explained("means") && is_explained("do"), "{found}");
            assert_ne!(self.code, 0);
        }
    }

    pub(super) fn code(&self) -> i32 {
        self.code
    }

    pub(super) fn findings(&self) -> &[Value] {
        &self.findings
    }

    /// That no finding of this check is worse than a note.
    #[track_caller]
    pub(super) fn is_fine(&self, check: &str) {
        let of_it = self.findings.iter().filter(|finding| finding["check"] == check);
        let levels: Vec<&Value> = of_it.map(|finding| &finding["level"]).collect();
        assert!(!levels.is_empty(), "nothing of {check}: {:#?}", self.findings);
        assert!(
            levels.iter().all(|level| *level == "ok" || *level == "note"),
            "{check} {levels:?}"
        );
    }

    /// The checks that were made, each once.
    pub(super) fn checks(&self) -> Vec<&str> {
        let mut checks: Vec<&str> =
            self.findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
        checks.dedup();
        checks
    }
}

/// The environment of programs at this server, with nothing mapped.
pub(super) fn at(redis: &TestRedis) -> Env {
    [("REDIS_URL".to_owned(), redis.url())].into()
}

#[tokio::test]
async fn sound_deployment_passes_and_findings_have_one_form() {
    let args = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut bench = Bench::on(TestRedis::start_with(args).await);
    let text = "[jobs.add]\nhandler = \"builtin:add\"\n[jobs.list]\ncommand = [\"ls\"]\n";
    let file = SettingsFile::new(text);
    bench.command("list", &["ls"]);
    let _worker = bench.worker().await;
    let client = bench.client().await;
    client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    drop(client);

    let (args, env) = (["--settings", file.arg()], at(&bench.redis));
    let seen = doctor(&args, &env).await;
    assert_eq!((seen.code, seen.is_ok), (0, true), "{:#?}", seen.findings);
    let fields = ["check", "do", "level", "means", "what"];
    for finding in &seen.findings {
        let has: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(has, fields, "{finding}");
        // Round trips of this machine at this moment do not belong to the deployment.
        let is_slow = finding["check"] == "latency" && finding["level"] == "note";
        assert!(is_slow || finding["level"] == "ok", "{finding}");
    }
    let expected = [
        "settings",
        "tls",
        "mapping",
        "redis",
        "role",
        "cluster",
        "eviction",
        "persistence",
        "memory",
        "clock",
        "latency",
        "rights",
        "queues",
        "workers",
        "versions",
        "names",
        "overdue",
        "oldest",
        "paused",
        "dead",
        "bytes",
        "leases",
        "schedules",
        "limits",
        "times",
        "keys",
    ];
    assert_eq!(seen.checks(), expected);
    seen.has("settings", "ok", file.arg());
    seen.has("settings", "ok", &bench.redis.url());
    seen.has("mapping", "ok", "/ls");

    let ran = Ran::new("redcall", &["doctor", args[0], args[1]], &env).await;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert!(ran.stdout.ends_with("\n0 problems, 0 warnings\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nok       role         primary\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn missing_program_is_a_problem_even_without_redis() {
    let file = SettingsFile::new(
        "[jobs.here]\ncommand = [\"./tool.sh\"]\n[jobs.gone]\ncommand = [\"./gone.sh\"]\n\
         [jobs.nowhere]\ncommand = [\"no-such-program\"]\n[jobs.add]\nhandler = \"builtin:add\"\n",
    );
    let tool = file.dir().join("tool.sh");
    std::fs::write(&tool, "#!/bin/sh\n").unwrap();
    let env = [("REDIS_URL".to_owned(), "redis+unix:///nowhere.sock".to_owned())].into();
    let args = ["--settings", file.arg()];
    doctor(&args, &env).await.has("mapping", "problem", "here: `");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, executable).unwrap();

    let seen = doctor(&args, &env).await;
    assert_eq!((seen.code, seen.is_ok), (3, false));
    seen.has("mapping", "ok", &format!("here: {}", file.dir().display()));
    seen.has("mapping", "problem", "gone: `");
    seen.has("mapping", "problem", "nowhere: the program `no-such-program` is not on PATH");
    seen.has("mapping", "ok", "compiled into the workers: add");
    seen.has("redis", "problem", "Redis at /nowhere.sock cannot be reached: ");
    assert_eq!(seen.checks(), ["settings", "tls", "mapping", "redis"]);

    let ran = Ran::new("redcall", &["doctor"], &env).await;
    assert_eq!((ran.code, &*ran.stderr), (3, ""));
    assert!(ran.stdout.ends_with("\n1 problem, 0 warnings\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn settings_that_are_not_valid_are_named_as_everywhere() {
    let file = SettingsFile::new("[worker]\nconcurrency = 0\n");
    let ran = Ran::new("redcall", &["doctor", "--settings", file.arg()], &Env::new()).await;
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    ran.stderr_has("worker.concurrency");
    for args in [&["doctor", "--call", "add={"][..], &["doctor", "--timeout", "1s"]] {
        assert_eq!(Ran::new("redcall", args, &Env::new()).await.code, 2, "{args:?}");
    }
}

#[tokio::test]
async fn an_embedded_server_is_looked_for_and_not_started() {
    let env = [("REDIS_URL".to_owned(), "embedded".to_owned())].into();
    let seen = doctor(&[], &env).await;
    assert_eq!((seen.code, seen.is_ok), (0, true));
    seen.has("redis", "note", "embedded: /");
    seen.has("settings", "note", "no settings file found");
    let seen = doctor(&["--call", "add"], &env).await;
    assert_eq!(seen.code, 1);
    seen.has("call", "problem", "no call was made");
}

#[tokio::test]
async fn test_calls_are_made_on_request_with_their_time() {
    let bench = Bench::new().await;
    let mut env = at(&bench.redis);
    // It does not wait for a worker as long as a caller would.
    let grace = "REDCALL__CLIENT__NO_WORKERS_GRACE".to_owned();
    env.insert(grace, "1m".to_owned());
    let began = std::time::Instant::now();
    doctor(&["--call", "add"], &env).await.has(
        "call",
        "problem",
        "add was not answered: no_worker",
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());

    let _worker = bench.worker().await;
    let calls =
        ["--call", r#"add={"a":1,"b":2}"#, "--call", "fail={}", "--call", r#"sleep={"ms":900000}"#];
    let seen = doctor(&[&calls[..], &["--timeout", "3s"]].concat(), &env).await;
    assert_eq!(seen.code, 1);
    seen.has("call", "ok", "add answered after ");
    seen.has("call", "problem", "fail was not answered: handler_failed");
    seen.has("call", "problem", "sleep was not answered: deadline_exceeded");
}
