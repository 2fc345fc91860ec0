//! `redcall console`: as a script, typed into by a program, and at a terminal.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod terminal;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use redcall_client::{Client, CompletionToken, Kind};
use redcall_testkit::{RestartableRedis, eventually};
use redcall_tests::{Bench, RunningWorker, binary, counter, counter_service};
use redcall_worker::{HandlerError, Request, State};
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{LIVE, Ran, run_with_input};

/// How long a line is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

type Tokens = mpsc::UnboundedSender<CompletionToken>;

/// Puts its answer off: the test gives it.
async fn later(request: Request, tokens: State<Tokens>) -> Result<(), HandlerError> {
    tokens.send(request.defer_with_notification(&"on its way", None).await?)?;
    Ok(())
}

/// A worker of the built-in jobs, of the service `counter`, and of `later`.
struct Setup {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    client: Client,
    env: BTreeMap<String, String>,
    tokens: mpsc::UnboundedReceiver<CompletionToken>,
    bench: Bench,
}

impl Setup {
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        bench.settings.services.insert("counter".to_owned(), counter_service());
        let (orders, tokens) = mpsc::unbounded_channel();
        let build = |worker| counter(worker).state::<Tokens>(orders).handler("later", later);
        let worker = bench.worker_with(build).await;
        let (client, env) = (bench.client().await, bench.environment());
        Self { _worker: worker, client, env, tokens, bench }
    }

    /// Runs a script.
    async fn script(&self, args: &[&str], lines: &[&str]) -> Ran {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let (env, input) = (self.env.clone(), lines.join("\n"));
        let running = tokio::task::spawn_blocking(move || {
            let mut all = vec!["console"];
            all.extend(args.iter().map(String::as_str));
            run_with_input("redcall", &all, &env, &input)
        });
        running.await.unwrap()
    }

    /// Settles the job that `later` has deferred.
    async fn settle(&mut self) {
        let token = timeout(TIMEOUT, self.tokens.recv()).await.unwrap().unwrap();
        assert!(self.client.settle(&token, Ok(json!({"on": true}))).await.unwrap());
    }
}

/// A console into which a program types. Killed when dropped.
struct Typed {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Typed {
    fn start(args: &[&str], env: &BTreeMap<String, String>) -> Self {
        let mut command = Command::new(binary("redcall"));
        command.arg("console").args(args).env_clear().envs(env).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), child, lines }
    }

    async fn types(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line that it prints.
    async fn line(&mut self) -> String {
        let line = timeout(TIMEOUT, self.lines.next_line()).await.expect("a line in time");
        line.unwrap().unwrap()
    }

    /// The same as JSON.
    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Types a line, and reads one.
    async fn answer(&mut self, line: &str) -> Value {
        self.types(line).await;
        self.json().await
    }

    /// Its exit code.
    async fn code(&mut self) -> i32 {
        let end = timeout(TIMEOUT, self.child.wait()).await.expect("its end in time");
        end.unwrap().code().unwrap()
    }

    /// Ends its input; its exit code.
    async fn ends(mut self) -> i32 {
        self.input = None;
        self.code().await
    }

    fn interrupt(&self) {
        let pid = i32::try_from(self.child.id().unwrap()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }
}

#[tokio::test]
async fn a_script_prints_the_answer_of_each_line() {
    let setup = Setup::new().await;
    let lines = [
        "# a comment",
        "",
        r#"call add {"a": 1, "b": 2} --wait"#,
        "stream echo [1, 2]",
        "wait echo -5",
        r#"call echo "two words" --queue low"#,
        "timeout 90s",
        "timeout",
        "service counter initialize 1000",
        r#"service counter execute {"by": 10}"#,
        "service counter initialize -1 @user-42",
        "service counter state @user-42",
        "service counter terminate",
        "publish device.7 property_change {\"speed\": 3}",
        "timeout default",
        "unfollow device.7",
        "help publish",
        "quit",
        "wait is never read",
    ];
    let ran = setup.script(&[], &lines).await;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let printed: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(printed[..3], [r#"{"answer":3}"#, r#"{"result":[1, 2]}"#, "-5"]);
    assert!(printed[3].starts_with("queued ") && printed[3].ends_with(" on low"), "{}", printed[3]);
    assert_eq!(printed[4..6], ["timeout 1m 30s", "timeout 1m 30s"]);
    let counter = [r#""initialized""#, "1010", r#""initialized""#];
    assert_eq!(printed[6..9], counter);
    assert_eq!(printed[9], r#"{"value":-1,"requests":0}"#);
    assert_eq!(printed[10], r#"{"value":1010,"requests":2}"#);
    assert!(printed[11].starts_with("published ") && printed[11].ends_with(" on device.7"));
    assert_eq!(printed[12..14], ["timeout default", "device.7: not subscribed"]);
    assert!(printed[14..].join("\n").contains("Usage: publish"), "{printed:?}");
    let queues = setup.script(&[], &["queues", "workers", "help"]).await;
    for shown in ["service:counter", "low", "WAITING", "RUNNING", "with the next nonce"] {
        assert!(queues.stdout.contains(shown), "{shown}: {}", queues.stdout);
    }
}

#[tokio::test]
async fn failed_line_prints_its_error_and_the_next_ones_execute() {
    let setup = Setup::new().await;
    let lines = [
        r#"wait fail {"message": "no"}"#,
        "cal add",
        "wait add {",
        "service counter execute 1",
        "wait echo 7",
    ];
    let ran = setup.script(&[], &lines).await;
    assert_eq!((ran.code, &*ran.stdout), (1, "7\n"));
    ran.stderr_has("handler_failed");
    ran.stderr_has("unrecognized subcommand 'cal'");
    ran.stderr_has("the data are not valid JSON: EOF while parsing");
    ran.stderr_has("conflict");
    // For programs: a line of JSON for each, in their order.
    let ran = setup.script(&["--json"], &lines).await;
    assert_eq!((ran.code, &*ran.stderr), (1, ""));
    let printed: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let code = |printed: &Value| printed["error"]["code"].as_str().map(str::to_owned);
    let codes: Vec<_> = printed.iter().map(code).collect();
    let codes: Vec<_> = codes.iter().map(Option::as_deref).collect();
    let invalid = Some("invalid_request");
    assert_eq!(codes, [Some("handler_failed"), invalid, invalid, Some("conflict"), None]);
    assert_eq!(printed[4], json!({"result": 7}));
}

#[tokio::test]
async fn line_without_utf8_fails_and_the_next_ones_execute() {
    let setup = Setup::new().await;
    for args in [&["console"][..], &["--json", "console"]] {
        let mut command = std::process::Command::new(binary("redcall"));
        command.args(args).env_clear().envs(&setup.env).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let script = b"wait echo 1\nwait echo \"\xff\xfe\"\n\xc3\nwait echo 2\n\xed\xa0\x80";
        std::io::Write::write_all(&mut stdin, script).unwrap();
        drop(stdin);
        let ran = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
        let ran: Ran = ran.await.unwrap().into();
        assert_eq!(ran.code, 1, "{ran:?}");
        let printed: Vec<&str> = ran.stdout.lines().collect();
        if args.len() == 1 {
            assert_eq!(printed, ["1", "2"], "{ran:?}");
            assert_eq!(ran.stderr.matches("not valid UTF-8").count(), 3, "{ran:?}");
            continue;
        }
        let printed: Vec<Value> =
            printed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&printed[0]["result"], &printed[3]["result"]),
            (&json!(1), &json!(2)),
            "{printed:?}"
        );
        for at in [1, 2, 4] {
            assert_eq!(printed[at]["error"]["code"], "invalid_request", "{printed:?}");
        }
    }
}

#[tokio::test]
async fn commands_run_during_further_lines_under_a_nonce() {
    let mut setup = Setup::new().await;
    let mut conn = setup.bench.redis.connection().await;
    let mut console = Typed::start(&[], &setup.env);
    for nonce in 1..3 {
        console.types("command later").await;
        assert!(console.line().await.starts_with(&format!("#{nonce} later sent ")));
        assert_eq!(console.line().await, format!("#{nonce} later deferred \"on its way\""));
    }
    // Lines are executed while calls run.
    console.types("wait echo 5").await;
    assert_eq!(console.line().await, "5");
    setup.settle().await;
    assert_eq!(console.line().await, "#1 later success {\"on\":true}");
    console.types("command fail {\"message\": \"no\"}").await;
    assert!(console.line().await.starts_with("#3 fail sent "));
    let failed = console.line().await;
    assert!(failed.starts_with("#3 fail failed handler_failed: "), "{failed}");
    // The end of the script waits for the second one; the third has failed.
    console.input = None;
    eventually("only the second to be left", async || {
        let left: usize = conn.hlen(LIVE).await.unwrap();
        (left == 1).then_some(())
    })
    .await;
    setup.settle().await;
    assert_eq!(console.line().await, "#2 later success {\"on\":true}");
    assert_eq!(console.code().await, 1);
    // Their nonces went along.
    let client = &setup.client;
    let since = std::time::SystemTime::UNIX_EPOCH;
    let mut results = client.events("command_result").since(since).subscribe().await.unwrap();
    for nonce in ["1", "2"] {
        let event = loop {
            match results.next().await.unwrap().unwrap() {
                redcall_client::EventItem::Event(event) => break event,
                redcall_client::EventItem::Missed(_) => {}
            }
        };
        let context: Value = serde_json::from_str(event.context.get()).unwrap();
        assert_eq!((&context["nonce"], event.kind), (&json!(nonce), Kind::COMMAND_RESULT));
    }
}

#[tokio::test]
async fn console_shows_and_cancels_jobs_and_prints_events() {
    let mut setup = Setup::new().await;
    let mut console = Typed::start(&["--json"], &setup.env);
    let id = console.answer("call later --track-status 1h").await["id"].take();
    let id = id.as_str().unwrap();
    let token = timeout(TIMEOUT, setup.tokens.recv()).await.unwrap().unwrap();
    let status = console.answer(&format!("status {id}")).await;
    assert_eq!(status["status"], "Processing", "{status}");
    setup.client.settle(&token, Ok(1)).await.unwrap();
    assert_eq!(console.answer(&format!("monitor {id}")).await["status"], "Success");
    // Followed, and cancelled while it is deferred.
    let sent = console.answer("command later").await;
    let id = sent["sent"].as_str().unwrap();
    let pending = json!({"nonce": 1, "command": "later", "deferred": "on its way"});
    assert_eq!(console.json().await, pending);
    console.types(&format!("cancel {id}")).await;
    let printed = [console.json().await, console.json().await];
    let (found, end): (Vec<_>, Vec<_>) =
        printed.iter().partition(|printed| printed.get("found").is_some());
    assert_eq!(found, [&json!({"id": id, "found": "deferred"})]);
    assert_eq!(end[0]["failed"]["code"], "cancelled");
    // Events.
    assert_eq!(console.answer("events news").await, json!({"following": "news"}));
    setup.client.publish("news", Kind(7), &"first").await.unwrap();
    let event = console.json().await;
    assert_eq!((&event["topic"], &event["event"]["kind"]), (&json!("news"), &json!(7)));
    assert_eq!(event["event"]["context"], "first");
    let gone = json!({"unfollowed": "news", "was_followed": true});
    assert_eq!(console.answer("unfollow news").await, gone);
    setup.client.publish("news", Kind(7), &"second").await.unwrap();
    assert_eq!(console.answer("wait echo 1").await, json!({"result": 1}));
    let nothing = "follow redcall:{default}:response:none";
    assert_eq!(console.answer(nothing).await["error"]["code"], "not_found");
    assert_eq!(console.ends().await, 1);
}

#[tokio::test]
async fn lost_redis_is_an_error_and_the_console_continues() {
    let mut redis = RestartableRedis::start().await;
    let env = [("REDIS_URL".to_owned(), redis.settings().url)].into();
    let mut console = Typed::start(&["--json"], &env);
    assert_eq!(console.answer("queues").await, json!({"queues": []}));
    redis.kill();
    assert_eq!(console.answer("queues").await["error"]["code"], "unavailable");
    let lost = console.answer("wait echo 1 --timeout 300ms").await;
    assert_eq!(lost["error"]["may_be_queued"], false, "{lost}");
    assert!(console.answer("publish news 7").await["error"]["code"].is_string());
    redis.start_again().await;
    eventually("the console to be back", async || {
        (console.answer("queues").await == json!({"queues": []})).then_some(())
    })
    .await;
    assert!(console.answer("publish news 7").await["id"].is_string());
    assert_eq!(console.ends().await, 1);
}

#[tokio::test]
async fn interrupted_script_cancels_its_call_and_ends() {
    let setup = Setup::new().await;
    let mut conn = setup.bench.redis.connection().await;
    for line in [r#"wait sleep {"ms": 60000}"#, r#"command sleep {"ms": 60000}"#] {
        let mut console = Typed::start(&["--json"], &setup.env);
        console.types(line).await;
        console.types("wait echo 1").await;
        eventually("it to run", async || {
            (conn.hlen::<_, usize>(LIVE).await.unwrap() == 1).then_some(())
        })
        .await;
        if line.starts_with("command") {
            // Its worker may have it before the console reports it.
            assert_eq!(console.json().await["command"], "sleep");
        }
        console.interrupt();
        assert_eq!(console.code().await, 130, "{line}");
        if line.starts_with("wait") {
            // No further line was executed; the reason for the end is on stderr.
            assert_eq!(console.lines.next_line().await.unwrap(), None);
        }
        eventually("it to be cancelled", async || {
            (conn.hlen::<_, usize>(LIVE).await.unwrap() == 0).then_some(())
        })
        .await;
    }
    // So does one that waits for nothing but its next line.
    let mut console = Typed::start(&[], &setup.env);
    console.types("wait echo 1").await;
    assert_eq!(console.line().await, "1");
    console.interrupt();
    assert_eq!(console.code().await, 130);
}
