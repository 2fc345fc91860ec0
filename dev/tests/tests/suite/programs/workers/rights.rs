//! Rights at Redis: the documented ones suffice, and each program names a missing one.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::{BTreeMap, HashMap};

use redcall_store::rights::Role;
use redcall_testkit::TestRedis;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::operation::probes::Served;
use crate::programs::doctor::doctor;
use crate::support::{Logged, Ran, SettingsFile};

type Env = BTreeMap<String, String>;

/// A server with a user for each role.
struct Users {
    redis: TestRedis,
    conn: MultiplexedConnection,
}

impl Users {
    async fn new() -> Self {
        let args = ["--appendonly", "yes", "--appendfsync", "always"];
        let redis = TestRedis::start_with(args).await;
        let mut conn = redis.connection().await;
        for (role, user) in
            [(Role::Worker, "worker"), (Role::Client, "client"), (Role::Admin, "admin")]
        {
            let line = role.acl_line(user, "redcall").replace("SECRET", "secret");
            let words: Vec<&str> = line.split(' ').collect();
            let () = redis::cmd(words[0]).arg(&words[1..]).query_async(&mut conn).await.unwrap();
        }
        Self { redis, conn }
    }

    /// The environment of a program of this user.
    fn env(&self, user: &str) -> Env {
        let url = format!("{}?user={user}&pass=secret", self.redis.url());
        [("REDIS_URL".to_owned(), url)].into()
    }

    async fn set(&mut self, user: &str, rule: &str) {
        let set = redis::cmd("ACL").arg("SETUSER").arg(user).arg(rule).to_owned();
        let () = set.query_async(&mut self.conn).await.unwrap();
    }

    /// The refused commands, and their users.
    async fn refused(&mut self) -> Vec<(String, String)> {
        let log = redis::cmd("ACL").arg("LOG").to_owned();
        let log: Vec<HashMap<String, redis::Value>> =
            log.query_async(&mut self.conn).await.unwrap();
        let text = |entry: &HashMap<String, redis::Value>, field: &str| -> String {
            redis::from_redis_value(entry[field].clone()).unwrap()
        };
        log.iter().map(|entry| (text(entry, "username"), text(entry, "object"))).collect()
    }
}

const SETTINGS: &str = "
[jobs.add]
handler = 'builtin:add'
[jobs.fail]
handler = 'builtin:fail'
retries = { max = 1, base = '1ms' }
[jobs.sleep]
handler = 'builtin:sleep'
limit = { concurrency = 1 }
[schedules.often]
cron = '* * * * *'
job = 'add'
data = { a = 1, b = 2 }
";

async fn run(args: &[&str], env: &Env) -> Ran {
    Ran::new("redcall", args, env).await
}

#[tokio::test]
async fn documented_rights_suffice_for_worker_client_and_cli() {
    let mut users = Users::new().await;
    let file = SettingsFile::new(SETTINGS);
    let mut env = users.env("worker");
    env.insert("REDCALL_SETTINGS".to_owned(), file.arg().to_owned());
    let served = Served::start("redcall-worker", env).await;
    served.becomes(200).await;
    assert_eq!(served.get("/metrics").await.status(), 200);

    let client = users.env("client");
    for (args, code) in [
        (&["call", "add", r#"{"a":1,"b":2}"#, "--wait"][..], 0),
        (&["call", "add", r#"{"a":1,"b":2}"#, "--idempotency-key", "k"], 0),
        (&["call", "add", r#"{"a":1,"b":2}"#, "--wait", "--track-status", "1m"], 0),
        (&["call", "fail", "{}", "--wait"], 1),
        (&["call", "sleep", r#"{"ms":1}"#, "--wait"], 0),
        (&["call", "sleep", r#"{"ms":1}"#, "--delay", "1m", "--timeout", "2m"], 0),
        (&["events", "publish", "door", "event"], 0),
        (&["events", "tail", "door", "--since", "1h", "--limit", "1"], 0),
    ] {
        let ran = run(args, &client).await;
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
    }
    let admin = users.env("admin");
    let ran = run(&["call", "sleep", r#"{"ms":60000}"#, "--track-status", "1m"], &client).await;
    let id = ran.stdout.split(' ').nth(1).unwrap().to_owned();
    for args in [
        &["queues"][..],
        &["status", &id],
        &["cancel", &id],
        &["workers"],
        &["pause", "default"],
        &["resume", "default"],
        &["dead", "list"],
        &["dead", "retry", "--all"],
        &["dead", "purge", "--all"],
    ] {
        let ran = run(args, &admin).await;
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    }
    // It is not the workers' user, which is all that is wrong with it.
    let ran = run(&["doctor", "--call", r#"add={"a":1,"b":2}"#], &admin).await;
    assert!(ran.stdout.contains("workers lack +blmove"), "{ran:?}");
    assert!(ran.stdout.ends_with("\n1 problem, 1 warning\n"), "{ran:?}");
    // The rest are rights that only newer servers know, or that are not needed.
    let mut refused = users.refused().await;
    refused.retain(|(_, command)| command != "client|setinfo");
    assert_eq!(refused, []);
}

#[tokio::test]
async fn worker_without_a_right_names_it_and_does_not_start() {
    let mut users = Users::new().await;
    users.set("worker", "-hsetnx").await;
    users.set("worker", "-spublish").await;
    let ran = Ran::new("redcall-worker", &["check"], &users.env("worker")).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    ran.stderr_has("the Redis user lacks rights that a worker needs: +hsetnx");
    let worker = Logged::start("redcall-worker", &[], &users.env("worker"));
    worker.line("lacks rights that a worker needs: +hsetnx").await;
    let log = worker.ended().await;
    assert!(!log.contains(": ready"), "{log}");
    users.set("worker", "+hsetnx").await;
    // It works without announcements, and logs that.
    let worker = Logged::start("redcall-worker", &[], &users.env("worker"));
    worker.line("+spublish").await;
    worker.line(": ready").await;
}

#[tokio::test]
async fn worker_whose_key_is_forbidden_names_the_key() {
    let mut users = Users::new().await;
    users.set("worker", "resetkeys").await;
    users.set("worker", "~other:*").await;
    let ran = Ran::new("redcall-worker", &["check"], &users.env("worker")).await;
    ran.stderr_has("the Redis user lacks rights that a worker needs: ~redcall:{default}:*");
}

#[tokio::test]
async fn right_taken_while_a_worker_runs_turns_its_readiness_red() {
    let mut users = Users::new().await;
    let served = Served::start("redcall-worker", users.env("worker")).await;
    served.becomes(200).await;
    users.set("worker", "-xadd").await;
    let answer = served.becomes(503).await;
    let reason = "the Redis user lacks rights: +xadd";
    assert!(answer.reasons().iter().any(|one| one == reason), "{answer:?}");
    served.program().line("the Redis user lacks a right: the worker is not ready").await;
    users.set("worker", "+xadd").await;
    served.becomes(200).await;
    served.program().line("the Redis user has a needed right again").await;
}

#[tokio::test]
async fn doctor_reports_each_missing_right() {
    let mut users = Users::new().await;
    let env = users.env("default");
    users.set("default", ">secret").await;
    let seen = doctor(&[], &env).await;
    seen.has("rights", "ok", "the user has all rights that workers and clients need");

    for rule in ["-hsetnx", "-lmove", "-spublish"] {
        users.set("admin", "+@all").await;
        users.set("admin", rule).await;
    }
    users.set("admin", "-hsetnx").await;
    users.set("admin", "-lmove").await;
    let env = users.env("admin");
    let seen = doctor(&[], &env).await;
    seen.has("rights", "problem", "workers lack +hsetnx, +lmove");
    seen.has("rights", "warning", "clients lack +spublish (or &redcall:{default}:*)");
    assert_eq!(seen.code(), 1);

    users.set("admin", "-@scripting").await;
    let seen = doctor(&[], &env).await;
    assert_ne!(seen.code(), 0);
    let is_named = |finding: &Value| finding.to_string().contains("evalsha");
    assert!(seen.findings().iter().any(is_named), "{:#?}", seen.findings());
}
