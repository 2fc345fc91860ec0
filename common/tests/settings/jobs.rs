//! Mistakes in the `[jobs]` table, one test per mistake, each with the whole message.

use redcall_common::settings::HandlerSettings;

use crate::{bad, good};

const COMMAND: &str = "write a list such as [\"python3\", \"word_count.py\"]";

#[test]
fn a_key_of_a_job_is_not_known() {
    let kinds = HandlerSettings::KEYS.join(", ");
    let kinds = kinds.replace("process", "process, instances, start_timeout");
    let keys = &format!(
        "allowed keys: {kinds}, env, inherit_env, timeout, queue, concurrency, retries, \
         on_worker_loss, max_crashes, unique, status, limit"
    );
    let job = |rest: &str| format!("[jobs.score]\n{rest}");
    bad(&job("handler = 's'\nwarm = true"), "jobs.score.warm: unknown key", keys);
    // Only one message, although the job now has no handler.
    bad(&job("wasm = ['python3']"), "jobs.score.wasm: unknown key", keys);
    bad(
        &job("handlr = 's'"),
        "jobs.score.handlr: unknown key",
        &format!("did you mean `handler`? {keys}"),
    );
}

#[test]
fn a_job_has_two_handlers_or_none() {
    bad(
        "jobs.a = { handler = 'a', command = ['b'] }",
        "jobs.a: has handler and command",
        "keep one of them",
    );
    bad(
        "jobs.a = { handler = 'a', process = ['b'], http = { url = 'http://h' } }",
        "jobs.a: has handler and process and http",
        "keep one of them",
    );
    bad(
        "jobs.a = { timeout = '5s' }",
        &format!("jobs.a: has none of {}", HandlerSettings::KEYS.join(", ")),
        "add handler = \"builtin:echo\" or command = [\"python3\", \"word_count.py\"]",
    );
}

#[test]
fn a_handler_is_wrong() {
    let rule = "the name of a compiled-in handler, such as \"builtin:echo\"";
    let help = format!("write {rule}");
    bad("jobs.a.handler = ''", "jobs.a.handler: must not be empty", &help);
    bad("jobs.a.handler = ['x']", "jobs.a.handler: must be text, but is a list", &help);
    bad(
        "jobs.a.handler = 'a b'",
        &format!("jobs.a.handler: must be {rule}, but is \"a b\""),
        &help,
    );
}

#[test]
fn a_command_is_wrong() {
    let word = "write the program and each argument as text";
    bad(
        "jobs.a.command = 'python3 a.py'",
        "jobs.a.command: must be a list, but is \"python3 a.py\"",
        COMMAND,
    );
    bad("jobs.a.command = []", "jobs.a.command: must not be empty", COMMAND);
    bad("jobs.a.command = ['']", "jobs.a.command[0]: must not be empty", word);
    bad("jobs.a.command = ['x', 5]", "jobs.a.command[1]: must be text, but is 5", word);
    bad(
        "jobs.a.command = ['x', \"\\u0000\"]",
        "jobs.a.command[1]: holds a null character",
        "no program can be given one: remove it",
    );
}

#[test]
fn a_process_is_wrong() {
    bad(
        "jobs.a.process = 'python3'",
        "jobs.a.process: must be a list, but is \"python3\"",
        COMMAND,
    );
    let job = |rest: &str| format!("[jobs.a]\nhandler = 'a'\n{rest}");
    let help = "only processes have it: remove it";
    bad(&job("instances = 3"), "jobs.a: has instances without process", help);
    bad(&job("start_timeout = '1s'"), "jobs.a: has start_timeout without process", help);
    let process = "[jobs.a]\nprocess = ['p']\n";
    bad(
        &format!("{process}instances = 1025"),
        "jobs.a.instances: must be from 1 to 1024, but is 1025",
        "write a whole number from 1 to 1024",
    );
}

#[test]
fn environment_of_a_program_is_wrong() {
    let job = |rest: &str| format!("[jobs.a]\ncommand = ['c']\n{rest}");
    let rule = "the name of a variable, or a prefix of names followed by `*`";
    let help = format!("write {rule}");
    for (name, shown) in [("A=B", "\"A=B\""), ("*", "\"*\""), ("A*B", "\"A*B\"")] {
        let problem = format!("jobs.a.env[0]: must be {rule}, but is {shown}");
        bad(&job(&format!("env = ['{name}']")), &problem, &help);
    }
    let secret = "remove it: programs get neither REDIS_URL nor REDCALL_ variables, which hold \
                  secrets; one that calls jobs itself has a settings file of its own";
    for name in ["REDIS_URL", "REDCALL__AUTH__KEYS__A__SECRET", "REDCALL_TOKEN", "REDIS*", "R*"] {
        let problem = "jobs.a.env[0]: names variables of Redcall's own";
        bad(&job(&format!("env = ['{name}']")), problem, secret);
    }
    bad(
        &job("inherit_env = 'yes'"),
        "jobs.a.inherit_env: must be true or false, but is \"yes\"",
        "allowed values: true, false",
    );
    let handler = |rest: &str| format!("[jobs.a]\nhandler = 'a'\n{rest}");
    let help = "remove it: only programs inherit variables";
    bad(&handler("env = ['A']"), "jobs.a: has env without a command or a process", help);
    let problem = "jobs.a: has inherit_env without a command or a process";
    bad(&handler("inherit_env = true"), problem, help);
    let env = |text: &str| good(text).jobs["a"].env.clone();
    let given = env(&job("env = ['A', 'B_*']\ninherit_env = true"));
    assert!(given.inherit && given.names == ["A", "B_*"]);
    assert_eq!(env(&job("")), redcall_common::settings::ProgramEnv::default());
}

#[test]
fn a_pool_is_wrong() {
    let pool = "[pools.p]\nprocess = ['p']\n";
    let job = "[jobs.a]\npool = 'p'\n";
    let settings = good(&format!("{pool}instances = 3\nenv = ['A']\n{job}"));
    assert_eq!(settings.pools["p"].process.instances, 3);
    assert_eq!(settings.pools["p"].process.env.names, ["A"]);
    assert_eq!(settings.jobs["a"].kind, HandlerSettings::Pool("p".into()));
    assert_eq!(settings.jobs["a"].concurrency, None);
    let process = "add process = [\"python3\", \"redcall_process.py\", \"scorer\"]";
    bad("[pools.p]\ninstances = 2", "pools.p: has no process", process);
    bad(
        job,
        "jobs.a.pool: is not the name of a pool",
        "add [pools.p] with process = [\"python3\", …] below",
    );
    let other = "[pools.pp]\nprocess = ['p']\n";
    bad(
        &format!("{other}{job}"),
        "jobs.a.pool: is not the name of a pool",
        "did you mean `pp`? pools: pp",
    );
    let help = "remove it: only programs inherit variables";
    let problem = "jobs.a: has env without a command or a process";
    bad(&format!("{pool}{job}env = ['A']"), problem, help);
    let help = "only processes have it: remove it";
    let problem = "jobs.a: has instances without process";
    bad(&format!("{pool}{job}instances = 2"), problem, help);
    bad(
        "[pools.'a b']\nprocess = ['p']\n",
        "pools.a b: is not a pool name",
        "a pool name is 1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`",
    );
}

#[test]
fn a_request_by_http_is_wrong() {
    let example = "http = { method = \"POST\", url = \"http://127.0.0.1:9000/geocode\" }";
    bad(
        "jobs.a.http = 'h'",
        "jobs.a.http: must be a table, but is \"h\"",
        &format!("write {example}"),
    );
    bad("jobs.a.http = {}", "jobs.a.http: has no url", &format!("write {example}"));
    let rule = "a URL such as \"http://127.0.0.1:9000/geocode\"";
    bad(
        "jobs.a.http.url = 'ftp://h'",
        &format!("jobs.a.http.url: must be {rule}, but is an address"),
        &format!("write {rule}"),
    );
    bad(
        "jobs.a.http = { url = 'http://h', headers = { Secret = 5 } }",
        "jobs.a.http.headers.Secret: must be text, but is 5",
        "write text",
    );
    let methods = "GET, HEAD, POST, PUT, PATCH or DELETE";
    bad(
        "jobs.a.http = { url = 'http://h', method = 'get' }",
        &format!("jobs.a.http.method: must be {methods}, but is \"get\""),
        "did you mean `GET`? allowed values: GET, HEAD, POST, PUT, PATCH, DELETE",
    );
}

#[test]
fn the_name_of_a_job_is_wrong() {
    let help = "a job name is 1 to 128 characters without spaces and control characters";
    let job = |name: &str| format!("[jobs.\"{name}\"]\nhandler = 'a'");
    bad(&job("a b"), "jobs.a b: is not a job name", help);
    bad(&job("a\\tb"), "jobs.a\\tb: is not a job name", help);
    bad(&job(""), "jobs.: is not a job name", help);
    let long = "x".repeat(129);
    bad(&job(&long), &format!("jobs.{long}: is not a job name"), help);
    good(&job(&long[1..]));
}
