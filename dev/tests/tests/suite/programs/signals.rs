//! Signals that end a program cancel the calls that it waits for.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use redcall_testkit::eventually;
use redcall_tests::{Bench, binary};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::seems_served;

/// Each signal, and the exit code by which shells show it.
const SIGNALS: [(Signal, i32); 3] = [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)];

/// Queues with a registered worker, whose requests stay where they are.
struct Setup {
    conn: MultiplexedConnection,
    env: BTreeMap<String, String>,
    _bench: Bench,
}

impl Setup {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let mut conn = bench.redis.connection().await;
        for queue in ["default", "service:counter"] {
            seems_served(&mut conn, queue).await;
        }
        Self { conn, env: bench.environment(), _bench: bench }
    }

    fn start(&self, args: &[&str], input: &str) -> Child {
        self.start_into(args, input, Stdio::null())
    }

    fn start_into(&self, args: &[&str], input: &str, stdout: Stdio) -> Child {
        let mut command = Command::new(binary("redcall"));
        command.args(args).env_clear().envs(&self.env).stdin(Stdio::piped());
        let mut child = command.stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        if args[0] == "console" {
            // The script does not end.
            std::mem::forget(stdin);
        }
        child
    }

    /// The id of the next request, which is taken away.
    async fn id(&mut self, queue: &str) -> String {
        let key = format!("redcall:{{{queue}}}:queue");
        let raw = eventually("the call to be queued", async || {
            self.conn.lpop::<_, Option<String>>(&key, None).await.unwrap()
        });
        let envelope: Value = serde_json::from_str(&raw.await).unwrap();
        envelope["id"].as_str().unwrap().to_owned()
    }

    async fn is_cancelled(&mut self, queue: &str, id: &str) -> bool {
        let key = format!("redcall:{{{queue}}}:cancelled");
        self.conn.zscore::<_, _, Option<f64>>(key, id).await.unwrap().is_some()
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

async fn code(mut child: Child) -> Option<i32> {
    let code = eventually("the program to end", async || child.try_wait().unwrap()).await.code();
    let _ = child.wait();
    code
}

#[tokio::test]
async fn ending_signals_cancel_the_waited_call_of_every_verb() {
    let mut setup = Setup::new().await;
    let default = "default";
    let waits: [(&[&str], &str, &str); 8] = [
        (&["call", "add", "--wait"], "", default),
        (&["call", "add", "--stream"], "", default),
        (&["service", "counter", "execute"], "", "service:counter"),
        (&["doctor", "--call", "add"], "", default),
        (&["bench", "call", "--job", "add"], "", default),
        (&["console"], "wait add\n", default),
        (&["console"], "stream add\n", default),
        (&["console"], "command add\n", default),
    ];
    for (args, input, queue) in waits {
        for (signal, expected) in SIGNALS {
            let program = setup.start(args, input);
            let id = setup.id(queue).await;
            send(&program, signal);
            assert_eq!(code(program).await, Some(expected), "{args:?} {input:?} {signal:?}");
            assert!(setup.is_cancelled(queue, &id).await, "{args:?} {input:?} {signal:?}");
        }
    }
}

#[tokio::test]
async fn follow_ends_on_each_signal_and_its_job_continues() {
    let mut setup = Setup::new().await;
    let key = "redcall:{default}:response:x";
    let frame = json!({"id": "x", "response_key": key, "type": "progress", "seq": 1, "attempt": 1,
        "data": 1});
    let () = setup.conn.rpush(key, frame.to_string()).await.unwrap();
    for (signal, expected) in SIGNALS {
        let mut program = setup.start_into(&["follow", key], "", Stdio::piped());
        // A program that has printed the frame is following, and receives signals.
        let mut stdout = BufReader::new(program.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        send(&program, signal);
        assert_eq!(code(program).await, Some(expected), "{signal:?}");
        assert!(!setup.is_cancelled("default", "x").await, "{signal:?}");
    }
}

/// As under `nohup`, or in the background of a script.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn signal_that_the_parent_ignores_stays_ignored() {
    let mut setup = Setup::new().await;
    let script = "trap '' HUP INT; exec \"$0\" call add --wait";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary("redcall")).env_clear().envs(&setup.env);
    let program = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let id = setup.id("default").await;
    send(&program, Signal::HUP);
    send(&program, Signal::INT);
    // Signals come in no order: this one would be overtaken.
    assert!(!setup.is_cancelled("default", &id).await);
    send(&program, Signal::TERM);
    assert_eq!(code(program).await, Some(143));
    assert!(setup.is_cancelled("default", &id).await);
}
