//! `redcall-worker check` and the worker's flags: every mistake is one clear message.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod overview;

use std::collections::BTreeMap;

use redcall_common::settings::HandlerSettings;
use redcall_testkit::{TestRedis, eventually};
use redcall_tests::{Bench, Program};
use serde_json::Value;

use crate::support::{Ran, SettingsFile};

/// Runs `redcall-worker check` on a file with this text.
async fn check(text: &str) -> (SettingsFile, Ran) {
    let file = SettingsFile::new(text);
    let ran = Ran::new("redcall-worker", &["--settings", file.arg(), "check"], &[].into()).await;
    (file, ran)
}

/// Checks a file with this text, and expects this mistake of this key as the only one.
async fn mistake(text: &str, key_and_problem: &str, help: &str) {
    let (file, ran) = check(text).await;
    ran.stderr_has(&format!("{}: {key_and_problem} help: {help}", file.arg()));
    assert_eq!((ran.code, ran.stderr.matches('×').count()), (2, 1), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn good_settings_are_shown_as_a_mapping() {
    let redis = TestRedis::start().await;
    let url = redis.url();
    let (file, ran) = check(&format!(
        r#"
        redis.url = "{url}"
        worker.queues = ["urgent", "default"]
        dead.max_bytes = "1MiB"
        queues.urgent.answers_max_bytes = 0
        [jobs.add]
        handler = "builtin:add"
        timeout = "1500ms"
        [jobs.count_words]
        command = ["./count.sh", "-w"]
        "#
    ))
    .await;
    // The program is not there yet.
    let program = file.dir().join("./count.sh");
    ran.stderr_has(&format!("`{}` is not an executable file", program.display()));
    std::fs::write(&program, "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let ran = Ran::new("redcall-worker", &["check", "--settings", file.arg()], &[].into()).await;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let expected = [
        "add          rust redcall_worker::handler::builtin::add  (timeout 1.5s)".to_owned(),
        format!("count_words  command {} -w  (timeout 600s)", program.display()),
        "queues: urgent, default".to_owned(),
        "limits: requests of 2MiB, answers of 8MiB, frames of 1MiB, depth 64".to_owned(),
        "bounds: 1MiB of dead letters a queue, 64MiB of events a topic, any number of bytes of \
         answers on urgent, 1GiB of answers on default"
            .to_owned(),
        format!("redis: {} answers", url.strip_prefix("redis+unix://").unwrap()),
    ];
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn worker_without_jobs_explains_the_mapping() {
    let redis = TestRedis::start().await;
    let env = BTreeMap::from([("REDIS_URL".to_owned(), redis.url())]);
    let ran = Ran::new("redcall-worker", &["check"], &env).await;
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.starts_with("no jobs are mapped: add a [jobs.NAME] section\n"));
}

#[tokio::test]
async fn an_unknown_key_is_a_mistake() {
    mistake(
        "[worker]\nconcurency = 8",
        "worker.concurency: unknown key",
        "did you mean `concurrency`? allowed keys: name, queues, concurrency, lease, drain_timeout",
    )
    .await;
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_a_mistake() {
    mistake(
        "[worker]\nqueues = 'high'",
        "worker.queues: must be a list, but is \"high\"",
        "write a list such as [\"high\", \"default\", \"low\"]",
    )
    .await;
}

#[tokio::test]
async fn no_concurrency_is_a_mistake() {
    mistake(
        "[worker]\nconcurrency = 0",
        "worker.concurrency: must be from 1 to 65536, but is 0",
        "write a whole number from 1 to 65536",
    )
    .await;
}

#[tokio::test]
async fn an_address_of_another_kind_is_a_mistake() {
    mistake(
        "[redis]\nurl = 'http://cache:6379'",
        "redis.url: has the scheme `http`, which is not supported",
        "write redis://HOST:PORT, rediss://HOST:PORT (TLS), \
         redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, redis+unix:///PATH, unix:///PATH or \
         embedded; percent-encode special characters of a password",
    )
    .await;
}

#[tokio::test]
async fn a_handler_that_is_not_compiled_in_is_a_mistake() {
    mistake(
        "[jobs.add]\nhandler = 'builtin:ad'",
        "jobs.add.handler: unknown handler `builtin:ad`; known here: builtin:echo, \
         builtin:add, builtin:sleep, builtin:fail, builtin:count",
        "Correct this key; `redcall-worker check` checks all of them.",
    )
    .await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_mistake() {
    let help = "Correct this key; `redcall-worker check` checks all of them.";
    mistake(
        "[jobs.x]\ncommand = ['no-such-program', 'x']",
        "jobs.x.command: the program `no-such-program` is not on PATH; install it or give its path",
        help,
    )
    .await;
    let text = "[jobs.x]\ncommand = ['./']";
    let (file, ran) = check(text).await;
    let program = file.dir().join("./");
    let problem = format!("jobs.x.command: `{}` is not an executable file", program.display());
    mistake_of(&file, &ran, &problem, help);
}

#[track_caller]
fn mistake_of(file: &SettingsFile, ran: &Ran, key_and_problem: &str, help: &str) {
    ran.stderr_has(&format!("{}: {key_and_problem} help: {help}", file.arg()));
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn a_file_that_is_not_toml_is_a_mistake() {
    mistake(
        "[worker",
        "is not valid TOML: line 1, column 8: unclosed table, expected `]`",
        "correct the TOML of this file",
    )
    .await;
}

#[tokio::test]
async fn all_mistakes_of_a_file_are_reported_at_once() {
    let (file, ran) = check("[worker]\nlease = 5\n[jobs.a]\n[extra]\n").await;
    let no_handler = format!("jobs.a: has none of {}", HandlerSettings::KEYS.join(", "));
    for problem in ["worker.lease: needs a unit, but is 5", &no_handler, "extra: unknown section"] {
        ran.stderr_has(&format!("{}: {problem} help: ", file.arg()));
    }
    assert_eq!((ran.code, ran.stderr.matches('×').count()), (2, 3));
}

#[tokio::test]
async fn an_unreadable_file_is_a_mistake() {
    let file = SettingsFile::new("");
    let missing = file.dir().join("none.toml");
    for args in [vec!["check", "--settings"], vec!["--settings"]] {
        let with = |path: &str| {
            let path = path.to_owned();
            let args: Vec<String> = args.iter().map(ToString::to_string).chain([path]).collect();
            async move {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                Ran::new("redcall-worker", &args, &[].into()).await
            }
        };
        let ran = with(missing.to_str().unwrap()).await;
        ran.stderr_has(&format!("{}: there is no such file", missing.display()));
        ran.stderr_has("help: create it, or name another by --settings or REDCALL_SETTINGS");
        assert_eq!(ran.code, 2);
        let ran = with(file.dir().to_str().unwrap()).await;
        ran.stderr_has(&format!(
            "{}: is a directory help: name the file in it",
            file.dir().display()
        ));
        assert_eq!(ran.code, 2);
    }
    let env = BTreeMap::from([("REDCALL_SETTINGS".to_owned(), missing.display().to_string())]);
    let ran = Ran::new("redcall-worker", &["check"], &env).await;
    ran.stderr_has(&format!("{}: there is no such file", missing.display()));
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn a_mistake_in_the_environment_names_its_variable() {
    let variable = "REDCALL__WORKER__CONCURRENCY";
    let env = BTreeMap::from([(variable.to_owned(), "many".to_owned())]);
    let ran = Ran::new("redcall-worker", &["check"], &env).await;
    ran.stderr_has(&format!(
        "{variable}: worker.concurrency: must be a whole number, but is \"many\""
    ));
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn silent_redis_is_reported_after_the_mapping() {
    let text = "redis.url = 'redis://user:sesame@127.0.0.1:1'\njobs.add.handler = 'builtin:add'";
    let (file, ran) = check(text).await;
    let help = "Check that Redis runs there. Set `redis.url` in the settings, or REDIS_URL; \
                `docker compose up` starts one.";
    ran.stderr_has("× Redis at 127.0.0.1:1 cannot be reached");
    ran.stderr_has(&format!("help: {help}"));
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.starts_with("add  rust "), "{}", ran.stdout);
    assert!(!format!("{ran:?}").contains("sesame"), "{ran:?}");
    // The worker itself: not a mistake of the settings, but it could not run.
    let ran = Ran::new("redcall-worker", &["--settings", file.arg()], &[].into()).await;
    ran.stderr_has(&format!(
        "Redis at 127.0.0.1:1 cannot be reached Connection refused (os error 111) \
                       help: {help}"
    ));
    assert_eq!(ran.code, 1);
}

#[tokio::test]
async fn a_worker_with_a_mistake_does_not_start() {
    let file = SettingsFile::new("[jobs.add]\nhandler = 'builtin:ad'");
    let ran = Ran::new("redcall-worker", &["--settings", file.arg()], &[].into()).await;
    ran.stderr_has(&format!("{}: jobs.add.handler: unknown handler `builtin:ad`", file.arg()));
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn wrong_flags_are_reported_with_the_permitted_ones() {
    let name = "1 to 64 characters of A-Z a-z 0-9 _ . - are allowed";
    for (flag, value, problem) in [
        ("--concurrency", "0", "0 is not in 1..=65536"),
        ("--concurrency", "many", "invalid digit found in string"),
        ("--concurrency", "65537", "65537 is not in 1..=65536"),
        ("--queues", "a,b:c", name),
        ("--queues", "", name),
        ("--queues", "a,,b", name),
        ("--name", "a b", name),
    ] {
        let ran = Ran::new("redcall-worker", &[flag, value, "check"], &[].into()).await;
        let shown = value.split(',').find(|part| !part.chars().all(char::is_alphanumeric));
        let shown = shown.unwrap_or(if flag == "--queues" { "" } else { value });
        assert!(ran.stderr.contains(&format!("invalid value '{shown}' for '{flag} <")), "{ran:?}");
        assert!(ran.stderr.contains(problem), "{ran:?}");
        assert_eq!(ran.code, 2);
    }
    let ran = Ran::new("redcall-worker", &["--queues", "a,b,a", "check"], &[].into()).await;
    ran.stderr_has("× --queues names the queue `a` twice help: Name each queue once.");
    assert_eq!(ran.code, 2);
    let ran = Ran::new("redcall-worker", &["--queue", "a"], &[].into()).await;
    ran.stderr_has(
        "unexpected argument '--queue' found tip: a similar argument exists: '--queues'",
    );
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn flags_go_before_environment_and_file() {
    let bench = Bench::new().await;
    let file = SettingsFile::new(
        "worker = { queues = ['from_file'], concurrency = 7, name = 'from_file' }\n\
         jobs.add.handler = 'builtin:add'\njobs.echo.handler = 'builtin:echo'",
    );
    let mut env = BTreeMap::from([
        ("REDIS_URL".to_owned(), bench.redis.url()),
        ("REDCALL__WORKER__NAME".to_owned(), "from_environment".to_owned()),
        ("REDCALL__WORKER__CONCURRENCY".to_owned(), "9".to_owned()),
    ]);
    let settings = ["--settings", file.arg()];
    let flags = ["--queues", "a,b", "--concurrency", "3", "--name", "x"];
    let _flagged = Program::start(
        "redcall-worker",
        &[
            settings,
            flags[..2].try_into().unwrap(),
            flags[2..4].try_into().unwrap(),
            flags[4..].try_into().unwrap(),
        ]
        .concat(),
        &env,
    );
    let _plain = Program::start("redcall-worker", &settings, &env);
    env.remove("REDCALL__WORKER__NAME");
    let shown = eventually("both workers", async || {
        let ran = Ran::new("redcall", &["workers", "--json"], &env).await;
        let shown: Value = serde_json::from_str(&ran.stdout).ok()?;
        (shown["workers"].as_array()?.len() == 2).then_some(shown)
    })
    .await;
    let mut workers = shown["workers"].as_array().unwrap().clone();
    workers.sort_by_key(|worker| worker["name"].as_str().unwrap().to_owned());
    let of = |key: &str| workers.iter().map(|worker| worker[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("name"), ["from_environment", "x"]);
    assert_eq!(of("concurrency"), [9, 3]);
    assert_eq!(Value::from(of("queues")), serde_json::json!([["from_file"], ["a", "b"]]));
    assert_eq!(Value::from(of("jobs")), serde_json::json!([["add", "echo"], ["add", "echo"]]));
}
