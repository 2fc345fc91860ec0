//! The program: its start, its end, `check`.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Program, Stage};

const DOOR: &str = "[gateways.counter]\nprotocol = 'bgpy'\nlisten = '127.0.0.1:0'\nservice = 's'\n";

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(stage: &Stage, settings: &str, verb: &[&str]) -> (Option<i32>, String, String) {
    let file = stage.settings_file(settings);
    let ended = Program::run(&[verb, &["--settings", file.to_str().unwrap()]].concat());
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

#[tokio::test]
async fn check_prints_the_doors_and_that_redis_answers() {
    let stage = Stage::new().await;
    let more = "[gateways.app]\nprotocol = 'pm'\nconnect = 'localhost:9000'\nserves = ['a', 'b']\n\
                queues = ['q']\n[gateways.rq]\nprotocol = 'rq'\ntake = ['high', 'low']\n";
    let (code, stdout, stderr) = run(&stage, &format!("{DOOR}{more}"), &["check"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "gateway app: pm; connect localhost:9000; serves a, b of q",
            "gateway counter: bgpy; listen 127.0.0.1:0; service s",
            "gateway rq: rq; take high, low",
        ]
    );
    assert!(lines[3].starts_with("redis: ") && lines[3].ends_with(" answers"), "{stdout}");
}

#[tokio::test]
async fn settings_of_the_compose_file_open_their_doors() {
    let stage = Stage::new().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../example/gateway.toml");
    let text = std::fs::read_to_string(file).unwrap();
    let (code, stdout, stderr) = run(&stage, &text, &["check"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(stdout.contains("gateway apps: pm; listen 0.0.0.0:9000"), "{stdout}");
}

#[tokio::test]
async fn check_reports_each_problem_and_exits_with_2() {
    let stage = Stage::new().await;
    let (code, _, stderr) = run(&stage, "", &["check"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no [gateways.NAME]"), "{stderr}");
    let tls = format!("{DOOR}tls = {{ cert_file = 'none.pem', key_file = 'none.pem' }}");
    let (code, _, stderr) = run(&stage, &tls, &["check"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("gateways.counter: ") && stderr.contains("none.pem"), "{stderr}");
    let (code, _, stderr) = run(&stage, "[gateways.x]\nprotocol = 'rk'", &["check"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("gateways.x.protocol"), "{stderr}");
}

#[tokio::test]
async fn tls_of_a_door_that_does_not_listen_is_a_mistake() {
    let stage = Stage::new().await;
    for (door, help) in [
        ("protocol = 'rq'\ntake = ['a']", "rediss://"),
        ("protocol = 'pm'\nconnect = 'localhost:9000'", "Pipeline Manager has no TLS"),
        ("protocol = 'zmtp'\nconnect_events = ['localhost:5556']", "devices have no TLS"),
    ] {
        let tls = "tls = { cert_file = 'cert.pem', key_file = 'key.pem' }";
        let (code, _, stderr) = run(&stage, &format!("[gateways.g]\n{door}\n{tls}"), &["check"]);
        assert_eq!(code, Some(2), "{door}: {stderr}");
        // The message is wrapped.
        let words = stderr.split_whitespace().filter(|word| *word != "│");
        let stderr = words.collect::<Vec<_>>().join(" ");
        let problem = "gateways.g.tls: is set, but the door does not listen";
        assert!(stderr.contains(problem) && stderr.contains(help), "{door}: {stderr}");
    }
}

#[tokio::test]
async fn check_connects_to_the_redis_of_each_rq_door() {
    let stage = Stage::new().await;
    let other = redcall_testkit::TestRedis::start().await;
    let door = |url: &str| format!("[gateways.rq]\nprotocol = 'rq'\ntake = ['a']\nurl = '{url}'\n");
    let (code, stdout, stderr) = run(&stage, &door(&other.url()), &["check"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    let last = stdout.lines().last().unwrap();
    assert!(last.starts_with("redis of rq: ") && last.ends_with(" answers"), "{stdout}");
    for (url, why) in [
        ("redis://127.0.0.1:1", "gateways.rq: Redis at 127.0.0.1:1 cannot be reached"),
        (&format!("{}?user=x&pass=secret", other.url()), "wrong user or password"),
    ] {
        let (code, _, stderr) = run(&stage, &door(url), &["check"]);
        assert_eq!(code, Some(2), "{url}: {stderr}");
        assert!(stderr.contains(why), "{url}: {stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}

#[tokio::test]
async fn gateway_without_doors_does_not_start() {
    let stage = Stage::new().await;
    let (code, _, stderr) = run(&stage, "", &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no [gateways.NAME]"), "{stderr}");
}

#[tokio::test]
async fn door_that_cannot_bind_is_named() {
    let stage = Stage::new().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let door = DOOR.replace("127.0.0.1:0", &address.to_string());
    let (code, _, stderr) = run(&stage, &door, &[]);
    assert_eq!(code, Some(1));
    let expected = format!("gateways.counter: listen: cannot listen on {address}");
    assert!(stderr.contains(&expected), "{stderr}");
}

#[tokio::test]
async fn redis_that_is_away_is_an_error_at_the_start() {
    let stage = Stage::new().await;
    let file = stage.write("away.toml", format!("[redis]\nurl = 'redis://127.0.0.1:1'\n{DOOR}"));
    let ended = Program::run(&["--settings", file.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("127.0.0.1:1"), "{}", text(&ended.stderr));
}

#[tokio::test]
async fn signals_drain_and_the_exit_code_is_0() {
    let stage = Stage::new().await;
    for signal in [Signal::TERM, Signal::INT] {
        let program = stage.program(DOOR);
        program.address("counter", "listen").await;
        let begun = Instant::now();
        program.signal(signal);
        let (status, log) = program.wait();
        // Nothing is open: it does not use up worker.drain_timeout, 25 s.
        assert!(begun.elapsed() < Duration::from_secs(15), "{log:?}");
        assert_eq!(status.code(), Some(0), "{log:?}");
        assert!(log.iter().any(|line| line.contains("signal received")), "{log:?}");
    }
}
