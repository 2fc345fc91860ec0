//! The parts of the gateway that all protocols share.

#[path = "../support/mod.rs"]
mod support;

use support::Program;

#[test]
fn program_without_doors_exits_with_2_and_says_so() {
    let ended = Program::run(&["check", "--settings", "/dev/null"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
}
