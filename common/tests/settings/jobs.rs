//! What the `[jobs]` table can get wrong, one test per mistake, each with the whole message.

use crate::{bad, good};

const COMMAND: &str = "write a list such as [\"python3\", \"word_count.py\"]";

#[test]
fn a_key_of_a_job_is_not_known() {
    let keys = "allowed keys: handler, command, timeout, queue, concurrency, retries, \
                on_worker_loss, max_crashes, unique, limit";
    let job = |rest: &str| format!("[jobs.score]\n{rest}");
    bad(&job("handler = 's'\ninstances = 3"), "jobs.score.instances: unknown key", keys);
    // Only one message, although the job now has nothing that runs it.
    bad(&job("process = ['python3']"), "jobs.score.process: unknown key", keys);
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
        "jobs.a: has both handler and command",
        "keep one of the two",
    );
    bad(
        "jobs.a = { timeout = '5s' }",
        "jobs.a: has neither handler nor command",
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
