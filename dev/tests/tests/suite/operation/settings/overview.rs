//! The output of `redcall-worker check` besides the mapping, and its findings.

use redcall_testkit::TestRedis;
use redcall_tests::{Bench, Program};
use serde_json::{Value, json};

use crate::support::{Logged, Ran, SettingsFile};

/// One of everything.
const ALL: &str = "
    worker.queues = ['default']
    limits.depth = 32
    [jobs.add]
    handler = 'builtin:add'
    timeout = '1500ms'
    concurrency = 4
    retries = { max = 3 }
    limit = { key = 'customer', concurrency = 2, rate = '10/m' }
    [jobs.report]
    handler = 'builtin:echo'
    queue = 'low'
    on_worker_loss = 'fail'
    [services.counter]
    execute = 'builtin:echo'
    idle = '2d'
    [schedules.nightly]
    job = 'report'
    cron = '30 2 * * *'
    timezone = 'Europe/Berlin'
    missed = 'last'
    [schedules.ticks]
    job = 'counter'
    cron = '* * * * *'
";

/// Runs `redcall-worker check` with these settings, at this server.
async fn check(redis: &TestRedis, text: &str, flags: &[&str]) -> (SettingsFile, Ran) {
    let file = SettingsFile::new(&format!("redis.url = '{}'\n{text}", redis.url()));
    let args = [&["check", "--settings", file.arg()], flags].concat();
    let ran = Ran::new("redcall-worker", &args, &[].into()).await;
    (file, ran)
}

async fn as_json(redis: &TestRedis, text: &str) -> (i32, Value) {
    let (_, ran) = check(redis, text, &["--json"]).await;
    assert_eq!(ran.stderr, "");
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}")))
}

#[tokio::test]
async fn schedules_services_and_limits_are_shown() {
    let redis = TestRedis::start().await;
    let (_, ran) = check(&redis, ALL, &[]).await;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    for line in [
        "limit add: 4 at once in a worker, 2 at once for each `customer`, 10 every 60s for each \
         `customer`",
        "service counter: service rust redcall_worker::handler::builtin::echo, queue \
         service:counter  (timeout 600s, idle 172800s)",
        "queues: service:counter, default",
        "limits: requests of 2MiB, answers of 8MiB, frames of 1MiB, depth 32",
    ] {
        assert!(ran.stdout.lines().any(|shown| shown == line), "{line}\n{}", ran.stdout);
    }
    let begin = "schedule nightly: report on low at \"30 2 * * *\" Europe/Berlin, next 2";
    assert!(ran.stdout.contains(begin), "{}", ran.stdout);
    assert!(ran.stdout.contains("Z, missed ticks: last\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn json_has_all_of_it_in_one_object() {
    let redis = TestRedis::start().await;
    let (code, mut shown) = as_json(&redis, ALL).await;
    assert_eq!(code, 0, "{shown}");
    for schedule in shown["schedules"].as_array_mut().unwrap() {
        let next = schedule.as_object_mut().unwrap().remove("next_at").unwrap();
        assert!(next.as_u64().is_some_and(|ms| ms > 1_763_683_200_000), "{next}");
    }
    let handler = |name: &str| format!("rust redcall_worker::handler::builtin::{name}");
    let limit = json!({
        "key": "customer", "concurrency": 2, "rate": 10, "rate_per_ms": 60_000,
    });
    let expected = json!({
        "jobs": [
            {
                "name": "add", "handler": handler("add"), "timeout_ms": 1500, "retries": 3,
                "on_worker_loss": "rerun", "max_crashes": 3, "concurrency": 4, "limit": limit,
            },
            {
                "name": "report", "handler": handler("echo"), "timeout_ms": 600_000, "retries": 0,
                "on_worker_loss": "fail", "max_crashes": 3, "concurrency": null, "limit": null,
            },
        ],
        "services": [{
            "name": "counter", "queue": "service:counter", "timeout_ms": 600_000,
            "handler": format!("service {}", handler("echo")), "idle_ms": 172_800_000,
            "max_crashes": 3,
        }],
        "schedules": [
            {
                "name": "nightly", "job": "report", "queue": "low", "cron": "30 2 * * *",
                "timezone": "Europe/Berlin", "missed": "last", "is_mapped": true, "problem": null,
            },
            {
                "name": "ticks", "job": "counter", "queue": "service:counter", "cron": "* * * * *",
                "timezone": "UTC", "missed": "skip", "is_mapped": true, "problem": null,
            },
        ],
        "queues": [
            {"name": "service:counter", "max_length": 1_000_000, "answers_max_bytes": 1 << 30},
            {"name": "default", "max_length": 1_000_000, "answers_max_bytes": 1 << 30},
        ],
        "limits": {"request": 2 << 20, "answer": 8 << 20, "frame": 1 << 20, "depth": 32},
        "dead": {"max": 10_000, "max_bytes": 256 << 20, "age_ms": 2_592_000_000_u64},
        "events": {"max": 10_000, "max_bytes": 64 << 20, "age_ms": 86_400_000},
        "redis": redis.url().strip_prefix("redis+unix://").unwrap(),
        "problems": [],
        "ok": true,
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn schedule_of_a_job_that_no_worker_maps_is_a_mistake() {
    let bench = Bench::new().await;
    let text = "[jobs.echo]\nhandler = 'builtin:echo'\n[schedules.nightly]\njob = 'repot'\n\
                cron = '0 3 * * *'\n";
    let (file, ran) = check(&bench.redis, text, &[]).await;
    let problem = "unknown job `repot`: neither these settings nor a live worker of the queue \
                   `default` map it; its ticks become dead letters";
    ran.stderr_has(&format!("{}: schedules.nightly.job: {problem}", file.arg()));
    ran.stderr_has("help: Correct the name, or add [jobs.repot]; known here: echo");
    assert_eq!((ran.code, ran.stderr.matches('×').count()), (2, 1), "{}", ran.stderr);
    // All the rest is checked.
    assert!(ran.stdout.starts_with("echo  rust ") && ran.stdout.contains("schedule nightly: "));
    assert!(ran.stdout.ends_with(" answers\n"), "{}", ran.stdout);

    let (code, shown) = as_json(&bench.redis, text).await;
    assert_eq!(
        (code, &shown["ok"], shown["problems"].as_array().unwrap().len()),
        (2, &json!(false), 1)
    );
    assert!(shown["problems"][0]["problem"].as_str().unwrap().ends_with(problem), "{shown}");
    assert_eq!(shown["schedules"][0]["is_mapped"], false, "{shown}");

    // Another worker maps it.
    let mut env = bench.environment();
    env.insert("REDCALL__JOBS__REPOT__HANDLER".to_owned(), "builtin:echo".to_owned());
    let _other = Program::start("redcall-worker", &[], &env);
    redcall_testkit::eventually("it to be mapped", async || {
        (check(&bench.redis, text, &[]).await.1.code == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn schedule_that_sends_a_service_elsewhere_is_a_mistake() {
    let redis = TestRedis::start().await;
    let text = "[services.counter]\nexecute = 'builtin:echo'\n[schedules.ticks]\njob = 'counter'\n\
                queue = 'low'\ncron = '* * * * *'\n";
    let (file, ran) = check(&redis, text, &[]).await;
    ran.stderr_has(&format!(
        "{}: schedules.ticks.queue: `counter` is a service: its requests must be in the queue \
         `service:counter`",
        file.arg()
    ));
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn mistakes_of_the_settings_are_json_too() {
    let redis = TestRedis::start().await;
    let (code, shown) = as_json(&redis, "[worker]\nconcurrency = 0\n[extra]\n").await;
    assert_eq!((code, &shown["ok"]), (2, &json!(false)), "{shown}");
    let problems = shown["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{shown}");
    let is_reported = |problem: &Value| {
        problem["problem"].as_str().unwrap().contains(": worker.concurrency: ")
            && problem["help"] == "write a whole number from 1 to 65536"
    };
    assert!(problems.iter().any(is_reported), "{shown}");
    // A handler that is not there, and a server that does not answer.
    let (code, shown) = as_json(&redis, "[jobs.add]\nhandler = 'builtin:ad'\n").await;
    assert_eq!((code, shown["problems"].as_array().unwrap().len()), (2, 1), "{shown}");
    let text = "redis.url = 'redis://127.0.0.1:1'\njobs.add.handler = 'builtin:add'";
    let file = SettingsFile::new(text);
    let args = ["check", "--json", "--settings", file.arg()];
    let ran = Ran::new("redcall-worker", &args, &[].into()).await;
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, &shown["redis"], &shown["jobs"][0]["name"]),
        (2, &Value::Null, &json!("add"))
    );
    let problem = shown["problems"][0]["problem"].as_str().unwrap();
    assert!(problem.starts_with("Redis at 127.0.0.1:1 cannot be reached: "), "{problem}");
}

#[tokio::test]
async fn worker_warns_at_start_about_unmapped_schedule_jobs() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    for (key, value) in [
        ("NIGHTLY__JOB", "repot"),
        ("NIGHTLY__CRON", "0 3 * * *"),
        ("GOOD__JOB", "echo"),
        ("GOOD__CRON", "0 3 * * *"),
    ] {
        env.insert(format!("REDCALL__SCHEDULES__{key}"), value.to_owned());
    }
    let worker = Logged::start("redcall-worker", &[], &env);
    let line = worker.line("no live worker handles the schedule's job").await;
    assert!(line.contains("WARN") && line.contains("schedule=\"nightly\""), "{line}");
    assert!(line.contains("job=\"repot\" queue=\"default\""), "{line}");
    worker.line("ready").await;
    assert_eq!(worker.log().matches("handles the schedule's job").count(), 1, "{}", worker.log());
}
