//! Mistakes in the settings, one test per mistake, each with the whole message.

use std::error::Error;

use redcall_common::settings::HandlerSettings;

use crate::{Place, bad, good};

const URL: &str = "write redis://HOST:PORT, rediss://HOST:PORT (TLS), \
    redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, redis+unix:///PATH, \
                   unix:///PATH or embedded; percent-encode special characters of a password";
const LENGTH: &str = "write a number with its unit, such as \"500ms\", \"30s\", \"10m\" or \"30d\"";
const QUEUE: &str = "write 1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`";
const QUEUES: &str = "write a list such as [\"high\", \"default\", \"low\"]";
const SIZE: &str = "write bytes as a whole number, or text such as \"512KiB\" or \"2MiB\" \
                    (units: B, KiB, MiB, GiB)";
const SECTIONS: &str = "sections: redis, client, worker, pools, jobs, limits, services, schedules, \
                        queues, auth, gateways, dead, events, admin, log";

#[test]
fn a_section_is_not_known() {
    bad("[wroker]", "wroker: unknown section", &format!("did you mean `worker`? {SECTIONS}"));
    bad("[http]\nlisten = ':1'", "http: unknown section", SECTIONS);
    let hint = format!("did you mean `gateways`? {SECTIONS}");
    bad("[gateway.g]\nprotocol = 'rq'", "gateway: unknown section", &hint);
    bad("timeout = '5s'", "timeout: unknown key outside of a section", SECTIONS);
}

#[test]
fn a_key_is_not_known() {
    bad(
        "worker.concurency = 8",
        "worker.concurency: unknown key",
        "did you mean `concurrency`? allowed keys: name, queues, concurrency, lease, \
         drain_timeout, cancel_grace, idempotency_ttl",
    );
    bad(
        "redis.durabilty = 'fsynced'",
        "redis.durabilty: unknown key",
        "did you mean `durability`? allowed keys: url, prefix, durability, ca_file, cert_file, \
         key_file, connect_timeout, response_timeout",
    );
    bad(
        "client.time_out = '5s'",
        "client.time_out: unknown key",
        "did you mean `timeout`? allowed keys: timeout, no_workers_grace",
    );
    bad("dead.size = 5", "dead.size: unknown key", "allowed keys: max, max_bytes, age");
    bad(
        "events.length = 5",
        "events.length: unknown key",
        "allowed keys: max, max_bytes, age, emergency, heartbeat",
    );
    bad("admin.port = 5", "admin.port: unknown key", "allowed keys: listen");
    bad(
        "limits.reqest = 5",
        "limits.reqest: unknown key",
        "did you mean `request`? allowed keys: request, answer, frame, depth, max_length, \
         answers_max_bytes",
    );
}

#[test]
fn a_key_with_odd_characters_is_shown_on_one_line() {
    bad("log.\"a\\nb\" = 1", "log.a\\nb: unknown key", "allowed keys: level, format");
}

#[test]
fn section_is_not_a_table() {
    bad(
        "worker = 'all'",
        "worker: must be a table, but is \"all\"",
        "write [worker] and its keys below",
    );
    bad(
        "[[jobs]]\nname = 'a'",
        "jobs: must be a table, but is a list",
        "write [jobs] and its keys below",
    );
    bad(
        "jobs.add = 'builtin:add'",
        "jobs.add: must be a table, but is \"builtin:add\"",
        "write [jobs.add] with handler = \"builtin:echo\" or \
         command = [\"python3\", \"word_count.py\"] below",
    );
}

#[test]
fn a_value_is_of_the_wrong_type() {
    bad("worker.name = 5", "worker.name: must be text, but is 5", QUEUE);
    bad("redis.url = 6379", "redis.url: must be text, but is 6379", URL);
    bad(
        "redis.ca_file = true",
        "redis.ca_file: must be text, but is true",
        "write the path of a PEM file",
    );
    bad(
        "worker.concurrency = '8'",
        "worker.concurrency: must be a whole number, but is \"8\"",
        "write a whole number from 1 to 65536",
    );
    bad(
        "worker.concurrency = 1.5",
        "worker.concurrency: must be a whole number, but is 1.5",
        "write a whole number from 1 to 65536",
    );
    bad("worker.queues = 'high'", "worker.queues: must be a list, but is \"high\"", QUEUES);
    bad("worker.queues = ['a', 5]", "worker.queues[1]: must be text, but is 5", QUEUE);
    bad("worker.lease = []", "worker.lease: must be a duration, but is a list", LENGTH);
    bad("limits.frame = true", "limits.frame: must be a size, but is true", SIZE);
    bad("log.level = {}", "log.level: must be text, but is a table", "write a level such as info");
}

#[test]
fn listen_address_is_invalid() {
    let help = "write this machine's address and a port, such as \"127.0.0.1:9090\", \
                \"[::1]:9090\", or \"0.0.0.0:9090\" for all of its addresses";
    for wrong in [":9090", "localhost:9090", "127.0.0.1", "127.0.0.1:65536"] {
        let problem = format!("admin.listen: must be an IP address with a port, but is {wrong:?}");
        bad(&format!("admin.listen = '{wrong}'"), &problem, help);
    }
    // Values that may contain a password are not shown.
    let problem = "admin.listen: must be an IP address with a port, but is an address";
    bad("admin.listen = 'http://[::1]:1/'", problem, help);
    bad("admin.listen = 9090", "admin.listen: must be text, but is 9090", help);
    bad("admin.listen = ''", "admin.listen: must not be empty", help);
}

#[test]
fn a_value_is_null() {
    let (problem, _) = Place::with("a.yaml", "worker:\n  lease:\n").refusal(Some("a.yaml"), &[]);
    assert_eq!(problem, "DIR/a.yaml: worker.lease: must not be empty");
}

#[test]
fn a_number_is_out_of_range() {
    let number = |low: u64, high: u64| format!("write a whole number from {low} to {high}");
    let table = [
        ("worker.concurrency", "0", 1, 65_536),
        ("worker.concurrency", "-1", 1, 65_536),
        ("worker.concurrency", "65537", 1, 65_536),
        ("limits.depth", "0", 1, 128),
        ("limits.depth", "129", 1, 128),
        ("limits.max_length", "4294967296", 0, 4_294_967_295),
        ("dead.max", "0", 1, 4_294_967_295),
        ("events.max", "0", 1, 4_294_967_295),
        ("queues.low.max_length", "-1", 0, 4_294_967_295),
    ];
    for (key, value, low, high) in table {
        let problem = format!("{key}: must be from {low} to {high}, but is {value}");
        bad(&format!("{key} = {value}"), &problem, &number(low, high));
    }
}

#[test]
fn a_bound_in_bytes_is_out_of_range() {
    let keys = [
        "dead.max_bytes",
        "events.max_bytes",
        "limits.answers_max_bytes",
        "queues.low.answers_max_bytes",
    ];
    for key in keys {
        for value in ["1048575", "'1025GiB'", "-1"] {
            let shown = value.replace('\'', "\"");
            let range = "must be 0 (no limit) or from 1MiB to 1024GiB";
            bad(&format!("{key} = {value}"), &format!("{key}: {range}, but is {shown}"), SIZE);
        }
        bad(&format!("{key} = 'much'"), &format!("{key}: must be a size, but is \"much\""), SIZE);
    }
}

#[test]
fn a_length_of_time_has_no_unit() {
    bad("worker.lease = 5", "worker.lease: needs a unit, but is 5", LENGTH);
    bad("worker.lease = 0.5", "worker.lease: needs a unit, but is 0.5", LENGTH);
    bad("worker.lease = '5'", "worker.lease: needs a unit, but is \"5\"", LENGTH);
    bad("client.no_workers_grace = 0", "client.no_workers_grace: needs a unit, but is 0", LENGTH);
}

#[test]
fn a_length_of_time_is_malformed() {
    let problem = "jobs.a.timeout: must be a duration, but is ";
    for value in ["5 x", "soon", "-5s", "99999999999999999999s"] {
        let text = format!("jobs.a = {{ handler = 'a', timeout = '{value}' }}");
        bad(&text, &format!("{problem}{value:?}"), LENGTH);
    }
    bad("worker.lease = ' '", "worker.lease: must not be empty", LENGTH);
    let place = Place::with("redcall.toml", "worker.lease = 'soon'");
    assert!(place.load(None, &[]).unwrap_err().source().is_some(), "humantime's reason is kept");
}

#[test]
fn a_length_of_time_is_out_of_range() {
    let table = [
        ("worker.lease", "99ms", "99ms", "100ms", "1h"),
        ("worker.lease", "0s", "0s", "100ms", "1h"),
        ("worker.lease", "61m", "1h 1m", "100ms", "1h"),
        ("client.timeout", "0s", "0s", "1ms", "1year"),
        ("client.timeout", "2y", "2years", "1ms", "1year"),
        ("redis.connect_timeout", "0s", "0s", "1ms", "1h"),
        ("redis.response_timeout", "2h", "2h", "1ms", "1h"),
        ("worker.cancel_grace", "61m", "1h 1m", "0s", "1h"),
        ("worker.idempotency_ttl", "0s", "0s", "1s", "1year"),
        ("dead.age", "0s", "0s", "1s", "10years"),
        ("events.age", "2y", "2years", "1s", "1year"),
        ("events.heartbeat", "500ms", "500ms", "1s", "1h"),
    ];
    for (key, value, shown, low, high) in table {
        let problem = format!("{key}: must be from {low} to {high}, but is {shown}");
        bad(
            &format!("{key} = '{value}'"),
            &problem,
            &format!("write a duration from {low} to {high}"),
        );
    }
}

#[test]
fn a_size_is_wrong() {
    bad("limits.request = '2MB'", "limits.request: must be a size, but is \"2MB\"", SIZE);
    bad("limits.request = '2048'", "limits.request: must be a size, but is \"2048\"", SIZE);
    bad("limits.answer = 0", "limits.answer: must be from 1KiB to 512MiB, but is 0", SIZE);
    bad(
        "limits.frame = '1GiB'",
        "limits.frame: must be from 1KiB to 512MiB, but is \"1GiB\"",
        SIZE,
    );
}

#[test]
fn queues_are_wrong() {
    bad("worker.queues = []", "worker.queues: must not be empty", QUEUES);
    bad("worker.queues = ['']", "worker.queues[0]: must not be empty", QUEUE);
    bad(
        "worker.queues = ['a', 'b', 'a']",
        "worker.queues[2]: names the queue `a` again",
        "name each queue once",
    );
    let rule = QUEUE.trim_start_matches("write ");
    for name in ["a{b}", "a:b", "a b", "größe", &"x".repeat(60).replace('x', "x:")[..60]] {
        bad(
            &format!("worker.queues = ['{name}']"),
            &format!("worker.queues[0]: must be {rule}, but is {name:?}"),
            QUEUE,
        );
        bad(
            &format!("redis.prefix = '{name}'"),
            &format!("redis.prefix: must be {rule}, but is {name:?}"),
            QUEUE,
        );
    }
    bad(
        &format!("redis.prefix = '{}'", "x".repeat(65)),
        &format!("redis.prefix: must be {rule}, but is \"{}\"…", "x".repeat(60)),
        QUEUE,
    );
    good(&format!("worker.queues = ['{}']", "x".repeat(64)));
    bad(
        "jobs.a = { handler = 'a', queue = 'a:b' }",
        &format!("jobs.a.queue: must be {rule}, but is \"a:b\""),
        QUEUE,
    );
}

#[test]
fn the_address_is_wrong() {
    bad("redis.url = ''", "redis.url: must not be empty", URL);
    bad("redis.url = 'localhost:6379'", "redis.url: is not an address with a scheme", URL);
    bad(
        "redis.url = 'http://localhost'",
        "redis.url: has the scheme `http`, which is not supported",
        URL,
    );
    bad("redis.url = 'redis://'", "redis.url: has no host", URL);
    // The other forms are in the unit tests of `url.rs`.
}

#[test]
fn an_address_in_the_wrong_place_is_not_repeated() {
    let rule = QUEUE.trim_start_matches("write ");
    bad(
        "redis.prefix = 'redis://:sesame@cache'",
        &format!("redis.prefix: must be {rule}, but is an address"),
        QUEUE,
    );
}

#[test]
fn a_client_certificate_is_incomplete() {
    bad(
        "redis.cert_file = 'c.pem'",
        "redis.cert_file: is given without redis.key_file",
        "a client certificate needs both: add key_file, or remove cert_file",
    );
    bad(
        "redis.key_file = 'k.pem'",
        "redis.key_file: is given without redis.cert_file",
        "a client certificate needs both: add cert_file, or remove key_file",
    );
}

#[test]
fn the_log_is_wrong() {
    bad(
        "log.format = 'jsno'",
        "log.format: must be text or json, but is \"jsno\"",
        "did you mean `json`? allowed values: text, json",
    );
    bad(
        "log.format = 'xml'",
        "log.format: must be text or json, but is \"xml\"",
        "allowed values: text, json",
    );
    let levels = "use one of off, error, warn, info, debug, trace, or a list such as \
                  info,redcall_worker=debug";
    bad(
        "log.level = 'inof'",
        "log.level: has no level \"inof\"",
        &format!("did you mean `info`? {levels}"),
    );
    bad("log.level = 'info,x=loud'", "log.level: has no level \"loud\"", levels);
    bad("log.level = ''", "log.level: must not be empty", "write a level such as info");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "[worker]\nconcurrency = 0\nlease = 5\n[jobs.a]\n[extra]\n";
    let place = Place::with("redcall.toml", text);
    let (problem, help) = place.refusal(None, &[("REDCALL__LOG__FORMAT", "xml")]);
    let no_handler =
        format!("DIR/redcall.toml: jobs.a: has none of {}", HandlerSettings::KEYS.join(", "));
    let expected = [
        "DIR/redcall.toml: worker.concurrency: must be from 1 to 65536, but is 0",
        "DIR/redcall.toml: worker.lease: needs a unit, but is 5",
        &no_handler,
        "REDCALL__LOG__FORMAT: log.format: must be text or json, but is \"xml\"",
        "DIR/redcall.toml: extra: unknown section",
    ];
    assert_eq!(problem.lines().collect::<Vec<_>>(), expected);
    assert_eq!(help.lines().count(), expected.len());
    let error = place.load(None, &[]).unwrap_err();
    assert_eq!(error.mistakes().len(), 4);
    assert_eq!(error.mistakes()[0].mistakes().len(), 1);
}
