//! Retries and limits of a job: valid values, and one test per mistake.

use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::settings::{
    BackoffKind, HandlerSettings, JobSettings, Limit, OnWorkerLoss, ProcessSettings, Rate, Retries,
};

use crate::{bad, good};

const LENGTH: &str = "write a number with its unit, such as \"500ms\", \"30s\", \"10m\" or \"30d\"";

/// Returns a job with `rest` added to its handler.
fn job(rest: &str) -> String {
    format!("[jobs.a]\nhandler = 'a'\n{rest}")
}

#[test]
fn every_key_of_a_job_reaches_its_field() {
    let settings = good(&job(r#"
        concurrency = 4
        on_worker_loss = "fail"
        max_crashes = 1000
        unique = "1s"
        status = "7d"
        limit = { key = "customer", concurrency = 2, rate = "90 / m" }
        retries = { max = 1000, backoff = "constant", base = "1ms", cap = "30d", on = [
          "handler_failed", "handler_panicked", "timeout", "invalid_data", "too_large", "internal",
        ] }
        "#));
    let rate = Rate { count: 90, per: Duration::from_secs(60) };
    let expected = JobSettings {
        concurrency: Some(4),
        on_worker_loss: OnWorkerLoss::Fail,
        max_crashes: 1000,
        unique: Some(Duration::from_secs(1)),
        status: Some(Duration::from_secs(7 * 86_400)),
        limit: Some(Limit {
            key: Some("customer".to_owned()),
            concurrency: Some(2),
            rate: Some(rate),
        }),
        retries: Retries {
            max: 1000,
            backoff: BackoffKind::Constant,
            base: Duration::from_millis(1),
            cap: Duration::from_secs(30 * 86_400),
            on: Retries::CODES.to_vec(),
        },
        ..JobSettings::new(HandlerSettings::Compiled("a".to_owned()))
    };
    assert_eq!(settings.jobs["a"], expected);
}

#[test]
fn unset_keys_of_a_job_are_default() {
    let job = &good(&job("retries.max = 2\nlimit.concurrency = 1")).jobs["a"];
    assert_eq!(job.retries, Retries { max: 2, ..Retries::default() });
    assert_eq!(job.limit, Some(Limit { key: None, concurrency: Some(1), rate: None }));
    assert_eq!((job.concurrency, job.on_worker_loss), (None, OnWorkerLoss::Rerun));
    assert_eq!((job.max_crashes, job.unique, job.status), (3, None, None));
}

#[test]
fn a_process_has_as_many_jobs_at_once_as_instances() {
    let job = |rest: &str| {
        let text = format!("[jobs.a]\nprocess = ['p', '']\n{rest}");
        good(&text).jobs["a"].clone()
    };
    let process = ProcessSettings::new(vec!["p".to_owned(), String::new()]);
    assert_eq!((process.instances, process.start_timeout), (1, Duration::from_secs(10)));
    let default = job("");
    assert_eq!((default.kind, default.concurrency), (HandlerSettings::Process(process), Some(1)));
    assert_eq!(job("instances = 3").concurrency, Some(3));
    assert_eq!(job("instances = 3\nconcurrency = 9").concurrency, Some(9));
}

#[test]
fn headers_of_a_request_are_not_shown() {
    let text =
        "jobs.a.http = { url = 'https://u:p@h/x?key=1', headers = { A = 'secret', b = '' } }";
    let kind = good(&text.replace("''", "'c'")).jobs["a"].kind.clone();
    let HandlerSettings::Http(http) = &kind else { panic!("{kind:?}") };
    assert_eq!((http.method.as_str(), http.url.as_str()), ("POST", "https://u:p@h/x?key=1"));
    assert_eq!((http.headers["A"].as_str(), http.headers["b"].as_str()), ("secret", "c"));
    let shown = format!("{kind:?}");
    assert!(
        shown.contains("POST") && !shown.contains("secret") && !shown.contains("key"),
        "{shown}"
    );
}

#[test]
fn all_units_of_a_rate_are_known() {
    for (text, count, seconds) in
        [("1/s", 1, 1), ("2/m", 2, 60), ("3/h", 3, 3600), ("1000000/d", 1_000_000, 86_400)]
    {
        let limit = good(&job(&format!("limit.rate = '{text}'"))).jobs["a"].limit.clone();
        let per = Duration::from_secs(seconds);
        assert_eq!(limit.unwrap().rate, Some(Rate { count, per }), "{text}");
    }
}

#[test]
fn a_number_of_a_job_is_out_of_range() {
    for (key, value, low, high) in [
        ("concurrency", "0", 1, 65_536),
        ("concurrency", "65537", 1, 65_536),
        ("max_crashes", "0", 1, 1000),
        ("max_crashes", "1001", 1, 1000),
        ("retries.max", "1001", 0, 1000),
        ("retries.max", "-1", 0, 1000),
        ("limit.concurrency", "0", 1, 65_536),
        ("limit.concurrency", "65537", 1, 65_536),
    ] {
        bad(
            &job(&format!("{key} = {value}")),
            &format!("jobs.a.{key}: must be from {low} to {high}, but is {value}"),
            &format!("write a whole number from {low} to {high}"),
        );
    }
}

#[test]
fn a_length_of_time_of_a_job_is_out_of_range() {
    for (key, value, shown, low, high) in [
        ("unique", "0s", "0s", "1s", "1year"),
        ("unique", "2y", "2years", "1s", "1year"),
        ("status", "8d", "8days", "1s", "7days"),
        ("retries.base", "0s", "0s", "1ms", "1day"),
        ("retries.base", "25h", "1day 1h", "1ms", "1day"),
        ("retries.cap", "31d", "1month 13h 26m 24s", "1ms", "30days"),
    ] {
        bad(
            &job(&format!("{key} = '{value}'\nretries.max = 1")),
            &format!("jobs.a.{key}: must be from {low} to {high}, but is {shown}"),
            &format!("write a duration from {low} to {high}"),
        );
    }
    bad(&job("unique = 60"), "jobs.a.unique: needs a unit, but is 60", LENGTH);
}

#[test]
fn choice_of_a_job_is_invalid() {
    bad(
        &job("on_worker_loss = 'retry'"),
        "jobs.a.on_worker_loss: must be rerun or fail, but is \"retry\"",
        "allowed values: rerun, fail",
    );
    bad(
        &job("retries = { max = 1, backoff = 'exponental' }"),
        "jobs.a.retries.backoff: must be exponential or constant, but is \"exponental\"",
        "did you mean `exponential`? allowed values: exponential, constant",
    );
    bad(
        &job("retries = { max = 1, backoff = 2 }"),
        "jobs.a.retries.backoff: must be text, but is 2",
        "write exponential or constant",
    );
}

#[test]
fn retries_are_wrong() {
    bad(
        &job("retries = 3"),
        "jobs.a.retries: must be a table, but is 3",
        "write retries = { max = 3 }",
    );
    bad(
        &job("retries.base = '1s'"),
        "jobs.a.retries: has no max",
        "add the number of further attempts, such as max = 3",
    );
    bad(
        &job("retries = { maximum = 3 }"),
        "jobs.a.retries.maximum: unknown key",
        "allowed keys: max, backoff, base, cap, on",
    );
    for (rest, base) in [("base = '2s', cap = '1s'", "2s"), ("base = '1h', cap = '1s'", "1h")] {
        bad(
            &job(&format!("retries = {{ max = 1, {rest} }}")),
            &format!("jobs.a.retries: has a base ({base}) that is longer than its cap (1s)"),
            "shorten base, or lengthen cap",
        );
    }
    bad(
        &job("retries = { max = 1, base = '1h' }"),
        "jobs.a.retries: has a base (1h) that is longer than its cap (5m)",
        "shorten base, or lengthen cap",
    );
}

#[test]
fn the_codes_of_retries_are_wrong() {
    let codes = "handler_failed, handler_panicked, timeout, invalid_data, too_large";
    let on = |value: &str| job(&format!("retries = {{ max = 1, on = {value} }}"));
    bad(
        &on("['timeout', 'time_out']"),
        &format!("jobs.a.retries.on[1]: must be {codes} or internal, but is \"time_out\""),
        &format!("did you mean `timeout`? allowed values: {codes}, internal"),
    );
    // A valid code that is never retried.
    bad(
        &on("['cancelled']"),
        &format!("jobs.a.retries.on[0]: must be {codes} or internal, but is \"cancelled\""),
        &format!("allowed values: {codes}, internal"),
    );
    bad(
        &on("['timeout', 'timeout']"),
        "jobs.a.retries.on[1]: repeats the code `timeout`",
        "name each code once",
    );
    let list = "write a list such as [\"handler_failed\", \"timeout\"]";
    bad(&on("'timeout'"), "jobs.a.retries.on: must be a list, but is \"timeout\"", list);
    bad(&on("[]"), "jobs.a.retries.on: must not be empty", list);
    assert_eq!(good(&on("['internal']")).jobs["a"].retries.on, [Code::Internal]);
}

#[test]
fn a_limit_is_wrong() {
    bad(
        &job("limit = '10/s'"),
        "jobs.a.limit: must be a table, but is \"10/s\"",
        "write limit = { concurrency = 4 }",
    );
    bad(
        &job("limit.key = 'customer'"),
        "jobs.a.limit: has neither concurrency nor rate",
        "add concurrency = 4, rate = \"10/s\", or both",
    );
    bad(
        &job("limit.rates = '10/s'"),
        "jobs.a.limit.rates: unknown key",
        "did you mean `rate`? allowed keys: key, concurrency, rate",
    );
    bad(
        &job("limit = { rate = '1/s', key = '' }"),
        "jobs.a.limit.key: must not be empty",
        "write the name of a field of the data",
    );
}

#[test]
fn a_rate_is_wrong() {
    let help = "write a number per unit, such as \"10/s\" (units: s, m, h, d)";
    let rate = |value: &str| job(&format!("limit.rate = {value}"));
    bad(&rate("10"), "jobs.a.limit.rate: must be text, but is 10", help);
    for value in ["10", "10/x", "10/ms", "/s", "-1/s", "1.5/s", "ten/s"] {
        let problem = format!("jobs.a.limit.rate: must be a rate, but is \"{value}\"");
        bad(&rate(&format!("'{value}'")), &problem, help);
    }
    for value in ["0/s", "1000001/d"] {
        let problem =
            format!("jobs.a.limit.rate: must be from 1 to 1000000 per unit, but is \"{value}\"");
        bad(&rate(&format!("'{value}'")), &problem, help);
    }
}
