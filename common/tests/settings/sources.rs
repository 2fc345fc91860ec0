//! The sources of values, their precedence, and the values read from them.

use std::time::Duration;

use redcall_common::limits::Limits;
use redcall_common::settings::{
    DeadSettings, EventSettings, HandlerSettings, JobSettings, LogFormat, LogSettings, Settings,
};

use crate::{Place, good};

const SECOND: Duration = Duration::from_secs(1);

fn compiled(name: &str) -> HandlerSettings {
    HandlerSettings::Compiled(name.to_owned())
}

#[test]
fn without_any_source_all_is_default() {
    let settings = Place::empty().load(None, &[]).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.redis.url, "redis://127.0.0.1:6379");
    assert!(!settings.redis.url_named);
    assert_eq!(settings.redis.prefix, "redcall");
    assert_eq!(settings.redis.connect_timeout, 5 * SECOND);
    assert_eq!(settings.redis.response_timeout, 5 * SECOND);
    assert_eq!(settings.client.timeout, 30 * SECOND);
    assert_eq!(settings.client.no_workers_grace, 5 * SECOND);
    assert_eq!(settings.worker.name, None);
    assert_eq!(settings.worker.queues, ["high", "default", "low"]);
    assert_eq!(settings.worker.concurrency, 64);
    assert_eq!(settings.worker.lease, 5 * SECOND);
    assert_eq!(settings.worker.drain_timeout, 25 * SECOND);
    assert_eq!(settings.worker.cancel_grace, 5 * SECOND);
    assert_eq!(settings.worker.idempotency_ttl, 86_400 * SECOND);
    assert!(settings.jobs.is_empty());
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(
        settings.dead,
        DeadSettings { max: 10_000, max_bytes: 256 << 20, age: 30 * 86_400 * SECOND }
    );
    let events = EventSettings {
        max: 10_000,
        max_bytes: 64 << 20,
        age: 86_400 * SECOND,
        emergency: vec![101, 102, 2001],
        heartbeat: None,
    };
    assert_eq!(settings.events, events);
    assert_eq!(settings.admin.listen, None, "off unless set");
    assert_eq!(settings.log, LogSettings { level: "info".to_owned(), format: LogFormat::Text });
    assert_eq!(settings.base_dir(), std::env::current_dir().unwrap());
}

/// The example of the design, without keys of later releases (process, http, durability).
const EXAMPLE: &str = r#"
[redis]
url = "redis://127.0.0.1:6379"      # or "embedded"

[client]
timeout = "30s"

[worker]
queues = ["high", "default", "low"]
concurrency = 64
lease = "5s"
drain_timeout = "25s"

[jobs.add]
handler = "builtin:add"

[jobs.word_count]
command = ["python3", "word_count.py"]
timeout = "20s"
retries = { max = 3, backoff = "exponential", base = "500ms" }

[jobs.geocode]
handler = "geocode"
queue = "low"
concurrency = 4

[limits]
request = "2MiB"
answer = 8388608

[dead]
max = 10000
age = "30d"

[log]
level = "info,redcall_worker=debug"
format = "json"
"#;

#[test]
fn the_example_of_the_design_is_read() {
    let place = Place::with("redcall.toml", EXAMPLE);
    let settings = place.load(None, &[]).unwrap();
    let mut expected = Settings { file: Some(place.path("redcall.toml")), ..Settings::default() };
    expected.redis.url_named = true;
    expected.log.level = "info,redcall_worker=debug".to_owned();
    expected.log.format = LogFormat::Json;
    let mut word_count = JobSettings::new(HandlerSettings::Command(vec![
        "python3".to_owned(),
        "word_count.py".to_owned(),
    ]));
    word_count.timeout = 20 * SECOND;
    word_count.retries.max = 3;
    let mut geocode = JobSettings::new(compiled("geocode"));
    geocode.queue = Some("low".to_owned());
    geocode.concurrency = Some(4);
    expected.jobs.insert("add".to_owned(), JobSettings::new(compiled("builtin:add")));
    expected.jobs.insert("word_count".to_owned(), word_count);
    expected.jobs.insert("geocode".to_owned(), geocode);
    assert_eq!(settings, expected);
    assert_eq!(settings.jobs["add"].timeout, 600 * SECOND);
    assert_eq!(settings.base_dir(), place.dir());
}

#[test]
fn every_key_reaches_its_field() {
    let settings = good(
        r#"
        redis.url = "rediss://h:1/2"
        redis.prefix = "acme.v2"
        redis.connect_timeout = "1s"
        redis.response_timeout = "1h"
        client = { timeout = "500ms", no_workers_grace = "0s" }
        worker.name = "w-1"
        worker.queues = ["a"]
        worker.concurrency = 65536
        worker.lease = "100ms"
        worker.drain_timeout = "0s"
        worker.cancel_grace = "0s"
        worker.idempotency_ttl = "1year"
        queues.bulk = { max_length = 5, answers_max_bytes = "2GiB" }
        queues."v2.low" = { max_length = 0, answers_max_bytes = 0 }
        queues.plain = {}
        limits = { request = "1KiB", answer = "512MiB", frame = 4096, depth = 128, max_length = 0 }
        dead = { max = 1, max_bytes = 0, age = "10years" }
        events = { max = 1, max_bytes = "1MiB", age = "1s", emergency = [7], heartbeat = "5s" }
        log = { level = "WARN", format = "text" }
        "#,
    );
    assert_eq!(settings.redis.url, "rediss://h:1/2");
    assert_eq!(settings.redis.prefix, "acme.v2");
    assert_eq!(settings.redis.connect_timeout, SECOND);
    assert_eq!(settings.redis.response_timeout, 3600 * SECOND);
    assert_eq!(settings.client.timeout, SECOND / 2);
    assert_eq!(settings.client.no_workers_grace, Duration::ZERO);
    assert_eq!(settings.worker.name.as_deref(), Some("w-1"));
    assert_eq!(settings.worker.queues, ["a"]);
    assert_eq!(settings.worker.concurrency, 65_536);
    assert_eq!(settings.worker.lease, SECOND / 10);
    assert_eq!(settings.worker.drain_timeout, Duration::ZERO);
    assert_eq!(settings.worker.cancel_grace, Duration::ZERO);
    assert_eq!(settings.worker.idempotency_ttl, 31_557_600 * SECOND);
    assert_eq!(["bulk", "v2.low", "plain"].map(|q| settings.max_length(q)), [5, 0, 0]);
    let bytes = ["bulk", "v2.low"].map(|queue| settings.answers_max_bytes(queue));
    assert_eq!(bytes, [2 << 30, 0]);
    assert_eq!(settings.queues.len(), 2, "the cap of the others is that of all");
    let limits = Limits {
        request: 1 << 10,
        answer: 512 << 20,
        frame: 4096,
        depth: 128,
        max_length: 0,
        answers_max_bytes: 1 << 30,
    };
    assert_eq!(settings.limits, limits);
    assert_eq!(settings.dead, DeadSettings { max: 1, max_bytes: 0, age: 315_576_000 * SECOND });
    let events = EventSettings {
        max: 1,
        max_bytes: 1 << 20,
        age: SECOND,
        emergency: vec![7],
        heartbeat: Some(5 * SECOND),
    };
    assert_eq!(settings.events, events);
    assert_eq!(settings.log, LogSettings { level: "WARN".to_owned(), format: LogFormat::Text });
}

#[test]
fn yaml_and_json_say_the_same_as_toml() {
    let toml = "[worker]\nconcurrency = 8\n[jobs.\"größe.ändern\"]\ncommand = [\"./r\", \"\"]";
    let yaml = "worker:\n  concurrency: 8\njobs:\n  größe.ändern:\n    command: [./r, '']\n";
    let json =
        r#"{"worker": {"concurrency": 8}, "jobs": {"größe.ändern": {"command": ["./r", ""]}}}"#;
    for (name, text) in
        [("a.toml", toml), ("a.yaml", yaml), ("a.yml", yaml), ("a.json", json), ("A.JSON", json)]
    {
        let place = Place::with(name, text);
        let settings = place.load(Some(name), &[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(settings.file, Some(place.path(name)));
        assert_eq!(settings.worker.concurrency, 8, "{name}");
        let command = HandlerSettings::Command(vec!["./r".to_owned(), String::new()]);
        assert_eq!(settings.jobs["größe.ändern"].kind, command, "{name}");
    }
}

#[test]
fn the_working_directory_is_searched_in_order() {
    let place = Place::empty();
    let text = |n: u32| format!(r#"{{"worker": {{"concurrency": {n}}}}}"#);
    for (n, name) in [(4, "redcall.json"), (3, "redcall.yml"), (2, "redcall.yaml")] {
        place.write(name, text(n));
        let settings = place.load(None, &[]).unwrap();
        assert_eq!(settings.worker.concurrency, n as usize, "{name} should win");
        assert_eq!(settings.file, Some(place.path(name)));
    }
    place.write("redcall.toml", "worker.concurrency = 1");
    assert_eq!(place.load(None, &[]).unwrap().worker.concurrency, 1);
}

#[test]
fn the_flag_wins_over_the_variable_over_the_directory() {
    let place = Place::with("redcall.toml", "worker.concurrency = 1");
    place.write("variable.toml", "worker.concurrency = 2");
    place.write("flag.toml", "worker.concurrency = 3");
    let env = [("REDCALL_SETTINGS", "variable.toml")];
    let concurrency = |flag, env: &[_]| place.load(flag, env).unwrap().worker.concurrency;
    assert_eq!(concurrency(None, &[]), 1);
    assert_eq!(concurrency(None, &env), 2);
    assert_eq!(concurrency(Some("flag.toml"), &env), 3);
    assert_eq!(concurrency(Some("./flag.toml"), &env), 3);
    let absolute = place.path("flag.toml");
    assert_eq!(concurrency(absolute.to_str(), &env), 3);
}

#[test]
fn an_empty_file_is_all_defaults() {
    let files = [
        ("a.toml", ""),
        ("a.toml", "\u{feff}# nothing yet\n"),
        ("a.yaml", ""),
        ("a.yaml", "---\n# nothing yet\n"),
        ("a.yaml", "worker:\n  # concurrency: 8\n"),
        ("a.json", "{}"),
    ];
    for (name, text) in files {
        let settings = Place::with(name, text).load(Some(name), &[]).unwrap();
        assert_eq!(Settings { file: None, ..settings }, Settings::default(), "{text:?}");
    }
}

#[test]
fn relative_paths_count_from_the_settings_file() {
    let place = Place::empty();
    std::fs::create_dir(place.path("conf")).unwrap();
    place.write(
        "conf/redcall.toml",
        "redis = { ca_file = 'tls/ca.pem', cert_file = '/etc/c.pem', key_file = 'k.pem' }",
    );
    let settings = place.load(Some("conf/redcall.toml"), &[]).unwrap();
    assert_eq!(settings.redis.ca_file, Some(place.path("conf/tls/ca.pem")));
    assert_eq!(settings.redis.cert_file.as_deref(), Some("/etc/c.pem".as_ref()));
    assert_eq!(settings.redis.key_file, Some(place.path("conf/k.pem")));
    assert_eq!(settings.base_dir(), place.path("conf"));

    let dotted = place.load(Some("./conf/redcall.toml"), &[]).unwrap();
    assert_eq!(dotted.file, Some(place.path("conf/redcall.toml")));

    let from_env = place.load(None, &[("REDCALL__REDIS__CA_FILE", "ca.pem")]).unwrap();
    assert_eq!(from_env.redis.ca_file, Some(place.path("ca.pem")));
}

#[test]
fn the_password_is_not_shown_by_debug() {
    let settings = good("redis.url = 'redis://:sesame@cache:6379'");
    assert_eq!(settings.redis.url, "redis://:sesame@cache:6379");
    assert_eq!(settings.redis.redacted_url(), "redis://***@cache:6379");
    assert!(!format!("{settings:?}").contains("sesame"));
}
