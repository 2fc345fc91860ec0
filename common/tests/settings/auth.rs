//! `[auth]`: valid values, and one test per mistake. No message shows a possible secret.

use redcall_common::settings::{AuthKey, AuthSettings, Secret};

use crate::{Place, bad, bad_env, good};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const RANDOM: &str =
    "write a random text of at least 32 bytes, such as `openssl rand -hex 32` prints";

#[test]
fn keys_come_from_the_file_from_files_and_from_the_environment() {
    let place = Place::with(
        "redcall.toml",
        format!(
            "[auth]\nsign_with = 'new'\n[auth.keys]\nold = {{ secret = '{SECRET}', jobs = \
             ['add', 'index.*'] }}\nnew = {{ secret_file = 'key.txt' }}"
        ),
    );
    place.write("key.txt", format!("from a file {SECRET}\r\n"));
    let third = format!("from the environment {SECRET}");
    let env =
        [("REDCALL__AUTH__KEYS__THIRD__SECRET", &*third), ("REDCALL__AUTH__REQUIRED", "false")];
    let settings = place.load(None, &env).unwrap();
    let key = |secret: &str, jobs: &[&str]| AuthKey {
        secret: Secret::new(secret),
        jobs: jobs.iter().map(ToString::to_string).collect(),
    };
    let keys = [
        ("old".to_owned(), key(SECRET, &["add", "index.*"])),
        ("new".to_owned(), key(&format!("from a file {SECRET}"), &["*"])),
        ("third".to_owned(), key(&third, &["*"])),
    ];
    let sign_with = Some("new".to_owned());
    let expected = AuthSettings { keys: keys.into(), sign_with, required: false };
    assert_eq!(settings.auth, Some(expected));
    assert!(!format!("{settings:?}").contains(SECRET));
    assert_eq!(good("[worker]").auth, None);
}

#[test]
fn the_secret_of_a_key_of_the_file_may_come_from_the_environment() {
    let place = Place::with("redcall.toml", "[auth.keys.Web]\njobs = ['add']");
    let settings = place.load(None, &[("REDCALL__AUTH__KEYS__WEB__SECRET", SECRET)]).unwrap();
    let auth = settings.auth.unwrap();
    assert_eq!(auth.keys["Web"].jobs, ["add"]);
    assert!(auth.required && auth.sign_with.is_none());
}

#[test]
fn a_section_without_keys_is_a_mistake_and_not_off() {
    bad("[auth]", "auth: has no keys", "add [auth.keys.NAME], or remove [auth]");
    bad("[auth.keys]", "auth.keys: is empty", "add [auth.keys.NAME], or remove [auth]");
}

#[test]
fn a_key_has_one_secret_of_some_length() {
    let example = "secret_file = \"key.txt\" or secret = \"…\" below it";
    let none = "auth.keys.a: has neither secret nor secret_file";
    bad("[auth.keys.a]", none, &format!("add {example}"));
    let both = format!("[auth.keys.a]\nsecret = '{SECRET}'\nsecret_file = 'redcall.toml'");
    bad(&both, "auth.keys.a: has secret and secret_file", "keep one of them");
    let short = &SECRET[1..];
    let short = format!("[auth.keys.a]\nsecret = '{short}'");
    bad(&short, "auth.keys.a.secret: is shorter than 32 bytes", RANDOM);
    let long = format!("[auth.keys.a]\nsecret = '{}'", "abcdefgh9".repeat(500));
    bad(&long, "auth.keys.a.secret: is longer than 4096 bytes", RANDOM);
}

#[test]
fn trivial_secret_is_refused_and_not_shown() {
    let repeated = "repeats a short text";
    let few = "has fewer than 6 different bytes";
    let of = |secret: &str| format!("[auth.keys.a]\nsecret = '{secret}'");
    for (unit, problem) in [
        ("a", few),
        (" ", few),
        ("0", few),
        ("ab", few),
        ("changeme", repeated),
        ("password", repeated),
        ("secret_key", repeated),
        ("12345678", repeated),
        ("hunter2!", repeated),
    ] {
        let secret = unit.repeat(40);
        bad(&of(&secret), &format!("auth.keys.a.secret: {problem}"), RANDOM);
        // A partial repetition at the end does not help.
        let cut = &secret[..33];
        bad(&of(cut), &format!("auth.keys.a.secret: {problem}"), RANDOM);
        let place = Place::with("redcall.toml", "[auth.keys.a]\nsecret_file = 'key.txt'");
        place.write("key.txt", format!("{secret}\n"));
        let message = format!("{:?}", place.load(None, &[]).unwrap_err());
        assert!(message.contains("secret_file") && !message.contains(&secret), "{message}");
    }
    // Generators print these: hexadecimal and decimal digits, base64, words.
    for secret in [
        "9f86d081884c7d659a2feaa0c55ad015",
        "31415926535897932384626433832795",
        "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        "correct horse battery staple, again",
    ] {
        good(&of(secret));
    }
}

#[test]
fn a_file_that_holds_no_secret_is_named_by_its_key() {
    let help = "write the path of a file that holds the secret and nothing else";
    let of = |file: &str| format!("[auth.keys.a]\nsecret_file = '{file}'");
    bad(&of("gone.txt"), "auth.keys.a.secret_file: cannot be read", help);
    bad(&of("."), "auth.keys.a.secret_file: is not a file", help);
    bad(&of("/dev/zero"), "auth.keys.a.secret_file: is not a file", help);
}

#[test]
fn value_in_place_of_a_secret_is_not_shown() {
    let shown = "but is something else";
    let problem = format!("auth.keys.a: must be a table, {shown}");
    let help = "write secret_file = \"key.txt\" or secret = \"…\" below it";
    bad(&format!("[auth.keys]\na = '{SECRET}'"), &problem, help);
    let problem = format!("auth.keys: must be a table, {shown}");
    let help = "write [auth.keys.NAME] and its keys below";
    bad(&format!("[auth]\nkeys = '{SECRET}'"), &problem, help);
    bad("[auth.keys.a]\nsecret = 12345678", "auth.keys.a.secret: must be text", RANDOM);
    let rest = format!("[auth.keys.a]\nsecret = '{SECRET}'\n");
    let help = "write a job's name, or a prefix of names followed by `*`";
    let problem = format!(
        "auth.keys.a.jobs[0]: must be a job's name, or a prefix of names followed by \
                           `*`, {shown}"
    );
    bad(&format!("{rest}jobs = ['a*b']"), &problem, help);
}

#[test]
fn sign_with_names_an_existing_key() {
    let text = format!("[auth]\nsign_with = 'b'\n[auth.keys.a]\nsecret = '{SECRET}'");
    let help = "write the name of one of auth.keys: a";
    bad(&text, "auth.sign_with: is not the name of a key in auth.keys", help);
    bad_env(
        &[("REDCALL__AUTH__KEYS__A", SECRET)],
        "REDCALL__AUTH__KEYS__A: is not the name of a single value",
        "write REDCALL__SECTION__KEY; for jobs, pools, services, schedules, queues and \
         gateways REDCALL__SECTION__NAME__KEY",
    );
}
