//! Each test runs itself again as the program that is killed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::ChildStdout;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Set in the program that is killed.
const ROLE: &str = "REDCALL_TEST_ROLE";
/// Longer than any watcher needs.
const PATIENCE: Duration = Duration::from_secs(20);
/// A shell and its child that ignore all signals they can.
const STUBBORN: &str = "trap '' HUP INT TERM; sleep 60 & wait";

fn is_role() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Runs `test` as a program, waits until it holds its processes, kills it, and waits until all
/// processes with its standard error have ended. Returns the pipes to its other processes.
fn kill_program(test: &str) -> (ChildStdin, ChildStdout) {
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("runtime::leash::tests::{test}"), "--nocapture"])
        .env(ROLE, "program")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let rest = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
    let (sender, received) = mpsc::channel();
    let mut stderr = BufReader::new(program.stderr.take().unwrap());
    std::thread::spawn(move || {
        let mut output = String::new();
        while stderr.read_line(&mut output).unwrap() > 0 && !output.ends_with("holds\n") {}
        sender.send(output).unwrap();
        let mut output = String::new();
        stderr.read_to_string(&mut output).unwrap();
        sender.send(output).unwrap();
    });
    let output = received.recv_timeout(PATIENCE).expect("the program to hold its processes");
    assert!(output.ends_with("holds\n"), "{output}");
    program.kill().unwrap();
    program.wait().unwrap();
    received.recv_timeout(PATIENCE).expect("the end of all that was held");
    rest
}

/// Signals that all processes are held, and waits for the end.
fn wait_to_be_killed() -> ! {
    eprintln!("holds");
    loop {
        std::thread::park();
    }
}

/// Starts a process with our standard error, which shows that it is alive.
fn start(script: &str) -> Child {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap()
}

fn signal_watcher(leash: &Leash, signal: Signal) {
    let id = leash.state().watcher.as_ref().unwrap().shell.id();
    kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn killed_program_takes_held_groups_and_processes_with_it() {
    if is_role() {
        let leash = Leash::default();
        leash.prepare();
        let _group = leash.hold_group(start(STUBBORN).id());
        let _process = leash.hold_process(start("exec sleep 60").id());
        wait_to_be_killed();
    }
    kill_program("killed_program_takes_held_groups_and_processes_with_it");
}

#[test]
#[expect(clippy::zombie_processes, reason = "it outlives the program, and is not its to wait for")]
fn released_process_outlives_the_program() {
    if is_role() {
        let leash = Leash::default();
        leash.prepare();
        let echo = Command::new("cat").process_group(0).stderr(Stdio::null()).spawn().unwrap();
        drop(leash.hold_group(echo.id()));
        let held = leash.hold_group(start(STUBBORN).id());
        // The next line, which the watcher reads later.
        let _next = leash.hold_group(start(STUBBORN).id());
        assert_eq!((held.place, leash.state().places), (0, 2));
        drop(leash.hold_group(echo.id()));
        wait_to_be_killed();
    }
    let (mut stdin, mut stdout) = kill_program("released_process_outlives_the_program");
    writeln!(stdin, "it lives").unwrap();
    drop(stdin);
    let mut output = String::new();
    stdout.read_to_string(&mut output).unwrap();
    assert!(output.ends_with("it lives\n"), "{output}");
}

#[test]
fn killed_watcher_is_replaced_by_one_that_holds_the_same() {
    if is_role() {
        let leash = Leash::default();
        leash.prepare();
        let _first = leash.hold_group(start(STUBBORN).id());
        signal_watcher(&leash, Signal::KILL);
        leash.state().watcher.as_mut().unwrap().shell.wait().unwrap();
        leash.prepare();
        let _second = leash.hold_group(start(STUBBORN).id());
        wait_to_be_killed();
    }
    kill_program("killed_watcher_is_replaced_by_one_that_holds_the_same");
}

#[test]
fn watcher_ends_with_the_last_clone() {
    let leash = Leash::default();
    leash.prepare();
    let id = leash.state().watcher.as_ref().unwrap().shell.id();
    let id = Pid::from_raw(id.try_into().unwrap()).unwrap();
    let mut child = start("exec sleep 60");
    let held = leash.clone().hold_group(child.id());
    drop(leash);
    assert!(rustix::process::test_kill_process(id).is_ok(), "something is held");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    assert!(rustix::process::test_kill_process(id).is_err(), "it was waited for");
}
