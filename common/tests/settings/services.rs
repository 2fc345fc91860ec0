//! Services: valid values, and one test per mistake.

use std::time::Duration;

use redcall_common::settings::{ProcessSettings, ServiceSettings, ServiceTasks};

use crate::{bad, good};

/// Returns a service with `rest` added to its task.
fn service(rest: &str) -> String {
    format!("[services.a]\nexecute = 'x'\n{rest}")
}

#[test]
fn every_key_of_a_service_reaches_its_field() {
    let settings =
        good(&service("init = 'i'\nexit = 'e'\ntimeout = '2s'\nmax_crashes = 7\nidle = '1h'"));
    let tasks = ServiceTasks::Compiled {
        init: Some("i".to_owned()),
        execute: "x".to_owned(),
        exit: Some("e".to_owned()),
    };
    let expected = ServiceSettings {
        tasks,
        timeout: Duration::from_secs(2),
        max_crashes: 7,
        idle: Duration::from_secs(60 * 60),
    };
    assert_eq!(settings.services["a"], expected);
}

#[test]
fn unset_keys_of_a_service_are_default() {
    let service = &good("[services.a]\nprocess = ['p', 'q']\ninstances = 3").services["a"];
    let command = vec!["p".to_owned(), "q".to_owned()];
    let process = ProcessSettings { instances: 3, ..ProcessSettings::new(command) };
    assert_eq!(*service, ServiceSettings::new(ServiceTasks::Process(process)));
    assert_eq!((service.timeout.as_secs(), service.max_crashes), (600, 3));
    assert_eq!(service.idle.as_secs(), 30 * 86_400);
}

#[test]
fn its_queue_comes_before_the_workers_own() {
    let settings = good(&service("[worker]\nqueues = ['low']"));
    assert_eq!(settings.served_queues(), ["service:a", "low"]);
}

#[test]
fn a_service_is_wrong() {
    let add = "add execute = \"counter.execute\" or process = [\"python3\", \"counter.py\"]";
    bad("[services.a]\nidle = '1h'", "services.a: has none of execute, process", add);
    bad(
        &service("process = ['p']"),
        "services.a: has process and execute",
        "keep process, whose methods are the tasks, or remove it",
    );
    bad(
        "[jobs.a]\nhandler = 'x'\n[services.a]\nexecute = 'x'",
        "services.a: has the name of a job",
        "rename one of them: requests to `service:a` have the service's name",
    );
    bad(
        "[services.'a:b']\nexecute = 'x'",
        "services.a:b: is not a service name",
        "a service name is 1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`",
    );
    bad(
        &service("instances = 2"),
        "services.a: has instances without process",
        "only processes have it: remove it",
    );
}
