//! Schedules and queue lengths: valid values, and one test per mistake.

use std::error::Error;

use redcall_common::settings::{Missed, ScheduleSettings};

use crate::{Place, bad, good};

const CRON: &str = "write five fields (minute, hour, day of the month, month, day of the week), \
                    or six with seconds in front, such as \"30 2 * * *\" or \"*/10 * * * * *\"";
const QUEUE: &str = "1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`";

/// Returns a schedule with `rest` added to its job.
fn schedule(rest: &str) -> String {
    format!("[schedules.a]\njob = 'report'\n{rest}")
}

/// Returns a schedule with `rest` and a valid cron expression.
fn every_minute(rest: &str) -> String {
    schedule(&format!("cron = '* * * * *'\n{rest}"))
}

#[test]
fn every_key_of_a_schedule_reaches_its_field() {
    let settings = good(&schedule(
        "data = { b = 1, a = ['x', 1.5, true, {}] }\nqueue = 'low'\ncron = '*/5 30 2 * * MON-FRI'\n\
         timezone = 'Europe/Berlin'\nmissed = 'all'",
    ));
    let expected = ScheduleSettings {
        job: "report".to_owned(),
        data: r#"{"a":["x",1.5,true,{}],"b":1}"#.to_owned(),
        queue: Some("low".to_owned()),
        cron: "*/5 30 2 * * MON-FRI".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        missed: Missed::All,
    };
    assert_eq!(settings.schedules["a"], expected);
}

#[test]
fn unset_keys_of_a_schedule_are_default() {
    let schedule = &good(&every_minute("")).schedules["a"];
    assert_eq!((&*schedule.data, &*schedule.timezone), ("null", "UTC"));
    assert_eq!((&schedule.queue, schedule.missed), (&None, Missed::Skip));
}

#[test]
fn the_queue_of_a_schedule_is_its_own_or_its_jobs_or_the_default() {
    let settings = good(
        "[jobs.report]\nhandler = 'r'\nqueue = 'low'\n[jobs.plain]\nhandler = 'p'\n[schedules]\n\
         own = { job = 'report', queue = 'high', cron = '* * * * *' }\n\
         jobs = { job = 'report', cron = '* * * * *' }\n\
         plain = { job = 'plain', cron = '* * * * *' }\n\
         elsewhere = { job = 'not_mapped_here', cron = '* * * * *' }",
    );
    let queue = |name: &str| settings.queue_of(&settings.schedules[name]);
    assert_eq!(
        ["own", "jobs", "plain", "elsewhere"].map(queue),
        ["high", "low", "default", "default"]
    );
}

#[test]
fn data_is_the_same_json_in_every_format() {
    let json = r#"{"list":[1,-2,0.5,9007199254740993],"none":null,"text":"a\"b\nü"}"#;
    let data = |name: &str, text: &str| {
        let place = Place::with(name, text);
        let settings = place.load(Some(name), &[]).unwrap_or_else(|e| panic!("{e}"));
        settings.schedules["a"].data.clone()
    };
    let as_json =
        format!(r#"{{"schedules": {{"a": {{"job": "r", "cron": "* * * * *", "data": {json}}}}}}}"#);
    let as_yaml = "schedules:\n  a:\n    job: r\n    cron: '* * * * *'\n    data:\n      \
                   text: \"a\\\"b\\nü\"\n      none:\n      list: [1, -2, 0.5, \
                   9007199254740993]\n";
    assert_eq!(data("a.json", &as_json), json);
    assert_eq!(data("a.yaml", as_yaml), json);
    // TOML has no null.
    let as_toml =
        every_minute("data = { text = \"a\\\"b\\nü\", list = [1, -2, 0.5, 9007199254740993] }");
    assert_eq!(
        data("a.toml", &as_toml),
        r#"{"list":[1,-2,0.5,9007199254740993],"text":"a\"b\nü"}"#
    );
    for (value, json) in [("'x'", "\"x\""), ("5", "5"), ("false", "false"), ("[]", "[]")] {
        assert_eq!(good(&every_minute(&format!("data = {value}"))).schedules["a"].data, json);
    }
}

#[test]
fn data_is_wrong() {
    bad(
        &every_minute("data = [1, inf]"),
        "schedules.a.data: holds a number that JSON does not have",
        "write a value that JSON can express",
    );
    bad(
        &(every_minute(&format!("data = '{}'\n", "x".repeat(1023))) + "[limits]\nrequest = 1024"),
        "schedules.a.data: has 1025 bytes, the limit is 1024",
        "shorten it, or raise limits.request",
    );
}

#[test]
fn a_key_of_a_schedule_is_missing_or_not_known() {
    bad(&schedule(""), "schedules.a: has no cron", "add cron = \"30 2 * * *\"");
    bad("schedules.a.cron = '* * * * *'", "schedules.a: has no job", "add job = \"NAME\"");
    bad("[schedules.a]", "schedules.a: has no job", "add job = \"NAME\"");
    // Only one message, although the schedule now has no time.
    bad(
        &schedule("corn = '* * * * *'"),
        "schedules.a.corn: unknown key",
        "did you mean `cron`? allowed keys: job, data, queue, cron, timezone, missed",
    );
    bad(
        "schedules.a = '* * * * *'",
        "schedules.a: must be a table, but is \"* * * * *\"",
        "write [schedules.a] with job and cron below",
    );
}

#[test]
fn a_cron_expression_is_wrong() {
    for value in ["every day", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *"] {
        let problem = format!("schedules.a.cron: must be a cron expression, but is \"{value}\"");
        bad(&schedule(&format!("cron = '{value}'")), &problem, CRON);
    }
    bad(&schedule("cron = ''"), "schedules.a.cron: must not be empty", CRON);
    bad(&schedule("cron = 5"), "schedules.a.cron: must be text, but is 5", CRON);
    bad(
        &schedule("cron = '0 0 30 2 *'"),
        "schedules.a.cron: is \"0 0 30 2 *\", which never matches",
        "write one that matches: no year has such a day",
    );
    let place = Place::with("redcall.toml", schedule("cron = '60 * * * *'"));
    assert!(place.load(None, &[]).unwrap_err().source().is_some(), "the reason is kept");
}

#[test]
fn a_time_zone_is_wrong() {
    let help = "write a name of the IANA database, such as \"UTC\" or \"Europe/Berlin\"";
    bad(
        &every_minute("timezone = 'Europe/Berln'"),
        "schedules.a.timezone: must be a time zone, but is \"Europe/Berln\"",
        &format!("did you mean `Europe/Berlin`? {help}"),
    );
    bad(
        &every_minute("timezone = '+02:00'"),
        "schedules.a.timezone: must be a time zone, but is \"+02:00\"",
        help,
    );
    bad(&every_minute("timezone = 1"), "schedules.a.timezone: must be text, but is 1", help);
    assert_eq!(good(&every_minute("timezone = 'utc'")).schedules["a"].timezone, "utc");
}

#[test]
fn other_values_of_a_schedule_are_wrong() {
    bad(
        &every_minute("missed = 'alle'"),
        "schedules.a.missed: must be skip, last or all, but is \"alle\"",
        "did you mean `all`? allowed values: skip, last, all",
    );
    bad(
        &every_minute("queue = 'a:b'"),
        &format!("schedules.a.queue: must be {QUEUE}, but is \"a:b\""),
        &format!("write {QUEUE}"),
    );
    let rule = "1 to 128 characters without spaces and control characters";
    bad(
        "schedules.a = { job = 'a b', cron = '* * * * *' }",
        &format!("schedules.a.job: must be {rule}, but is \"a b\""),
        &format!("write {rule}"),
    );
}

#[test]
fn the_name_of_a_schedule_is_wrong() {
    let help = "a schedule name is 1 to 40 characters of A-Z, a-z, 0-9, `_` and `-`";
    let named = |name: &str| format!("schedules.\"{name}\" = {{ job = 'a', cron = '* * * * *' }}");
    for name in ["", "a.b", "a b", &"x".repeat(41)] {
        bad(&named(name), &format!("schedules.{name}: is not a schedule name"), help);
    }
    good(&named(&"x".repeat(40)));
}

#[test]
fn the_length_of_a_queue_is_wrong() {
    bad(
        "queues.low = 5",
        "queues.low: must be a table, but is 5",
        "write [queues.low] with max_length below",
    );
    bad(
        "queues.low.length = 5",
        "queues.low.length: unknown key",
        "allowed keys: max_length, answers_max_bytes",
    );
    bad(
        "queues.\"a:b\".max_length = 5",
        "queues.a:b: is not a queue name",
        &format!("a queue name is {QUEUE}"),
    );
}
