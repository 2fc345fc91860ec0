//! The inputs that fuzzing has found worth keeping, with every run of the tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::path::Path;

/// Hands every file of one folder of the corpus to a check.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        check(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files >= 10, "{} has {files} inputs", folder.display());
}

#[test]
fn elements_of_a_queue() {
    replay("envelope", redcall_fuzz::envelope::check);
}

#[test]
fn frames() {
    replay("frames", redcall_fuzz::frames::check);
}

#[test]
fn messages_of_bgpy() {
    replay("gateway_bgpy", redcall_fuzz::gateway_bgpy::check);
}

#[test]
fn pickles() {
    replay("pickle", redcall_fuzz::pickle::check);
}

#[test]
fn results_of_scripts() {
    replay("script_results", redcall_fuzz::script_results::check);
}

#[test]
fn settings() {
    replay("settings", redcall_fuzz::settings::check);
}
