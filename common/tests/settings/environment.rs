//! Values from the environment: precedence, parsing, mistakes.

use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::settings::{HandlerSettings, Limit, Missed, Rate};

use crate::{Place, bad_env};

#[test]
fn variables_override_the_file() {
    let place = Place::with(
        "redcall.toml",
        "[worker]\nconcurrency = 1\nlease = '1s'\n\
         [jobs.Word_Count]\nhandler = 'w'\n[jobs.a__b]\nhandler = 'ab'",
    );
    let settings = place
        .load(
            None,
            &[
                ("REDCALL__WORKER__CONCURRENCY", " 8 "),
                ("REDCALL__WORKER__QUEUES", "urgent, default"),
                ("REDCALL__JOBS__WORD_COUNT__TIMEOUT", "5s"),
                ("REDCALL__JOBS__A__B__QUEUE", "low"),
                ("REDCALL__LIMITS__REQUEST", "4096"),
                ("REDCALL__LIMITS__FRAME", "4KiB"),
                ("REDCALL__log__format", "json"),
                ("REDCALL__ADMIN__LISTEN", "[::1]:9090"),
            ],
        )
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(settings.worker.concurrency, 8);
    assert_eq!(settings.worker.queues, ["urgent", "default"]);
    assert_eq!(settings.worker.lease, Duration::from_secs(1), "the rest of the file stays");
    assert_eq!(settings.jobs["Word_Count"].timeout, Duration::from_secs(5));
    assert_eq!(settings.jobs["a__b"].queue.as_deref(), Some("low"));
    assert_eq!((settings.limits.request, settings.limits.frame), (4096, 4096));
    assert_eq!(settings.admin.listen, Some("[::1]:9090".parse().unwrap()));
}

#[test]
fn the_particular_variable_wins_over_redis_url_over_the_file() {
    let place = Place::with("redcall.toml", "redis.url = 'redis://file'");
    let both = [("REDCALL__REDIS__URL", "embedded"), ("REDIS_URL", "redis://plain")];
    for (env, url) in
        [(&both[2..], "redis://file"), (&both[1..], "redis://plain"), (&both[..], "embedded")]
    {
        let redis = place.load(None, env).unwrap().redis;
        assert_eq!((redis.url.as_str(), redis.url_named), (url, true));
    }
    let redis = Place::empty().load(None, &both[1..]).unwrap().redis;
    assert_eq!((redis.url.as_str(), redis.url_named), ("redis://plain", true));
}

#[test]
fn an_overridden_value_of_the_file_is_not_judged() {
    let place = Place::with("redcall.toml", "worker.concurrency = 0");
    let settings = place.load(None, &[("REDCALL__WORKER__CONCURRENCY", "8")]).unwrap();
    assert_eq!(settings.worker.concurrency, 8);
}

#[test]
fn jobs_can_be_made_by_variables_alone() {
    let settings = Place::empty()
        .load(
            None,
            &[
                ("REDCALL__JOBS__COUNT__COMMAND", r#"["sh", "-c", "wc -w, really"]"#),
                ("REDCALL__JOBS__COUNT__TIMEOUT", "1s"),
                ("REDCALL__JOBS__LIST__COMMAND", "ls,-l"),
            ],
        )
        .unwrap_or_else(|e| panic!("{e}"));
    let command = |words: &[&str]| {
        HandlerSettings::Command(words.iter().map(|word| word.to_string()).collect())
    };
    assert_eq!(settings.jobs["count"].kind, command(&["sh", "-c", "wc -w, really"]));
    assert_eq!(settings.jobs["count"].timeout, Duration::from_secs(1));
    assert_eq!(settings.jobs["list"].kind, command(&["ls", "-l"]));
}

#[test]
fn other_variables_are_ignored() {
    let env = [("REDCALL_FUTURE", "x"), ("redcall__worker__concurrency", "x"), ("HOME", "x")];
    assert!(Place::empty().load(None, &env).is_ok());
}

#[test]
fn a_mistake_names_the_variable_and_not_the_file() {
    let place = Place::with("redcall.toml", "worker.concurrency = 4");
    let (problem, help) = place.refusal(None, &[("REDCALL__WORKER__CONCURRENCY", "many")]);
    assert_eq!(
        problem,
        "REDCALL__WORKER__CONCURRENCY: worker.concurrency: must be a whole number, but is \"many\""
    );
    assert_eq!(help, "write a whole number from 1 to 65536");
}

#[test]
fn the_section_of_a_variable_is_not_known() {
    bad_env(
        &[("REDCALL__WORKR__LEASE", "5s")],
        "REDCALL__WORKR__LEASE: workr: unknown section",
        "did you mean `worker`? sections: redis, client, worker, pools, jobs, \
          limits, services, schedules, queues, auth, gateways, dead, events, admin, log",
    );
}

#[test]
fn the_key_of_a_variable_is_not_known() {
    bad_env(
        &[("REDCALL__LOG__FROMAT", "json")],
        "REDCALL__LOG__FROMAT: log.fromat: unknown key",
        "did you mean `format`? allowed keys: level, format",
    );
}

#[test]
fn a_variable_names_no_single_value() {
    for name in [
        "REDCALL__WORKER",
        "REDCALL__",
        "REDCALL__WORKER__",
        "REDCALL__JOBS__ADD",
        "REDCALL__WORKER__LEASE__X",
        "REDCALL__JOBS____TIMEOUT",
        "REDCALL__SCHEDULES__NIGHTLY",
        "REDCALL__QUEUES__LOW",
    ] {
        bad_env(
            &[(name, "5s")],
            &format!("{name}: is not the name of a single value"),
            "write REDCALL__SECTION__KEY; for jobs, pools, services, schedules, queues and \
             gateways REDCALL__SECTION__NAME__KEY",
        );
    }
}

#[test]
fn a_variable_overrides_a_job_that_is_not_there() {
    let place = Place::with("redcall.toml", "jobs.add.handler = 'a'\njobs.sub.handler = 's'");
    let (problem, help) = place.refusal(None, &[("REDCALL__JOBS__ADDD__TIMEOUT", "5s")]);
    assert_eq!(
        problem,
        "REDCALL__JOBS__ADDD__TIMEOUT: jobs.addd: there is no such job to override"
    );
    assert_eq!(help, "did you mean `add`? jobs: add, sub");
    bad_env(
        &[("REDCALL__JOBS__ADD__TIMEOUT", "5s")],
        "REDCALL__JOBS__ADD__TIMEOUT: jobs.add: there is no such job to override",
        "jobs: none",
    );
}

#[test]
fn variables_reach_the_tables_inside_of_a_job() {
    let place = Place::with(
        "redcall.toml",
        "[jobs.Add]\nhandler = 'a'\nretries = { max = 1, base = '1s' }\n\
         [jobs.a__limit]\nhandler = 'al'",
    );
    let env = [
        ("REDCALL__JOBS__ADD__RETRIES__MAX", "5"),
        ("REDCALL__JOBS__ADD__RETRIES__ON", "timeout,internal"),
        ("REDCALL__JOBS__ADD__LIMIT__RATE", "10/s"),
        ("REDCALL__JOBS__A__LIMIT__CONCURRENCY", "3"),
        ("REDCALL__JOBS__SUB__HANDLER", "s"),
        ("REDCALL__JOBS__SUB__RETRIES__MAX", "2"),
    ];
    let jobs = place.load(None, &env).unwrap_or_else(|e| panic!("{e}")).jobs;
    let retries = &jobs["Add"].retries;
    assert_eq!((retries.max, retries.base), (5, Duration::from_secs(1)), "the rest stays");
    assert_eq!(retries.on, [Code::Timeout, Code::Internal]);
    let rate = Some(Rate { count: 10, per: Duration::from_secs(1) });
    assert_eq!(jobs["Add"].limit, Some(Limit { key: None, concurrency: None, rate }));
    // A job with the longer name exists.
    assert_eq!((jobs["a__limit"].concurrency, &jobs["a__limit"].limit), (Some(3), &None));
    assert_eq!(jobs["sub"].retries.max, 2);
    bad_env(
        &[("REDCALL__JOBS__A__HANDLER", "a"), ("REDCALL__JOBS__A__RETRIES__MAX", "many")],
        "REDCALL__JOBS__A__RETRIES__MAX: jobs.a.retries.max: must be a whole number, \
         but is \"many\"",
        "write a whole number from 0 to 1000",
    );
}

#[test]
fn schedules_and_queues_can_be_made_by_variables() {
    let place = Place::with("redcall.toml", "[schedules.Old]\njob = 'a'\ncron = '* * * * *'");
    let env = [
        ("REDCALL__SCHEDULES__OLD__CRON", "0 5 * * *"),
        ("REDCALL__SCHEDULES__NIGHTLY__JOB", "report"),
        ("REDCALL__SCHEDULES__NIGHTLY__CRON", "30 2 * * *"),
        ("REDCALL__SCHEDULES__NIGHTLY__DATA", r#" {"b": 1, "a": [] } "#),
        ("REDCALL__SCHEDULES__NIGHTLY__MISSED", "last"),
        ("REDCALL__QUEUES__LOW__MAX_LENGTH", "5"),
    ];
    let settings = place.load(None, &env).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(settings.schedules["Old"].cron, "0 5 * * *");
    let nightly = &settings.schedules["nightly"];
    assert_eq!((&*nightly.job, &*nightly.cron), ("report", "30 2 * * *"));
    assert_eq!((&*nightly.data, nightly.missed), (r#"{"b": 1, "a": [] }"#, Missed::Last));
    assert_eq!(settings.max_length("low"), 5);
}

#[test]
fn the_data_of_a_schedule_in_a_variable_is_json() {
    bad_env(
        &[
            ("REDCALL__SCHEDULES__A__JOB", "a"),
            ("REDCALL__SCHEDULES__A__CRON", "* * * * *"),
            ("REDCALL__SCHEDULES__A__DATA", "{a: 1}"),
        ],
        "REDCALL__SCHEDULES__A__DATA: schedules.a.data: is not JSON",
        "write a value that JSON can express",
    );
}

#[test]
fn a_variable_overrides_a_schedule_that_is_not_there() {
    let place = Place::with("redcall.toml", "schedules.tick = { job = 'a', cron = '* * * * *' }");
    let (problem, help) = place.refusal(None, &[("REDCALL__SCHEDULES__TIK__MISSED", "all")]);
    assert_eq!(
        problem,
        "REDCALL__SCHEDULES__TIK__MISSED: schedules.tik: there is no such schedule to override"
    );
    assert_eq!(help, "did you mean `tick`? schedules: tick");
}

#[test]
fn a_variable_could_mean_two_jobs() {
    let place = Place::with("redcall.toml", "jobs.add.handler = 'a'\njobs.Add.handler = 'b'");
    let (problem, help) = place.refusal(None, &[("REDCALL__JOBS__ADD__TIMEOUT", "5s")]);
    assert_eq!(problem, "REDCALL__JOBS__ADD__TIMEOUT: could mean any of the jobs Add, add");
    assert_eq!(help, "set the value in the settings file");
}

#[test]
fn an_empty_variable_is_not_an_absent_one() {
    let help = "write redis://HOST:PORT, rediss://HOST:PORT (TLS), \
        redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, redis+unix:///PATH, \
                unix:///PATH or embedded; percent-encode special characters of a password";
    bad_env(&[("REDIS_URL", "")], "REDIS_URL: redis.url: must not be empty", help);
    bad_env(
        &[("REDCALL_SETTINGS", "")],
        "REDCALL_SETTINGS: is empty",
        "give it the path of a settings file, or unset it",
    );
    bad_env(
        &[("REDCALL__WORKER__QUEUES", "")],
        "REDCALL__WORKER__QUEUES: worker.queues: must not be empty",
        "write a list such as [\"high\", \"default\", \"low\"], items separated by commas, or JSON",
    );
}

#[test]
fn a_list_in_a_variable_is_malformed() {
    bad_env(
        &[("REDCALL__WORKER__QUEUES", "[high, low]")],
        "REDCALL__WORKER__QUEUES: worker.queues: is not a JSON list of texts",
        "write a list such as [\"high\", \"default\", \"low\"], items separated by commas, or JSON",
    );
    bad_env(
        &[("REDCALL__WORKER__QUEUES", "high,,low")],
        "REDCALL__WORKER__QUEUES: worker.queues[1]: must not be empty",
        "write 1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`",
    );
}

#[test]
fn variable_cannot_fix_section_of_wrong_type() {
    let place = Place::with("redcall.toml", "worker = 5");
    let (problem, help) = place.refusal(None, &[("REDCALL__WORKER__CONCURRENCY", "8")]);
    assert_eq!(problem, "DIR/redcall.toml: worker: must be a table, but is 5");
    assert_eq!(help, "write [worker] and its keys below");
}

#[test]
fn the_password_of_a_bad_address_is_not_shown() {
    let (problem, help) =
        Place::empty().refusal(None, &[("REDIS_URL", "redis://:sesame@cache:port")]);
    assert_eq!(problem, "REDIS_URL: redis.url: has a port that is not a number from 1 to 65535");
    assert!(!help.contains("sesame"));
}
