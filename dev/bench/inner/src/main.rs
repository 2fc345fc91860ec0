//! `redcall-instructions NAME`: runs one part once, under a counter of instructions; without a
//! name, lists them. `cargo xtask instructions` starts it under callgrind, which counts only while
//! [`measured`] runs, and compares the counts with `dev/bench/instructions.json`.
//!
//! Each part runs in a process of its own: another part's heap must not count.

use std::hint::black_box;
use std::process::ExitCode;

use redcall_bench_inner::calls::{Batch, Calls, Elements, With};
use redcall_bench_inner::polls::{self, Answers, FAILED_ONCE, Leases, OutcomeKind, WorkerPoll};
use redcall_bench_inner::waits::{Announcement, Callers, Frames};

/// A part by its name: sets up, and then runs measured.
type Part = (String, Box<dyn Fn()>);

fn main() -> ExitCode {
    let parts = parts();
    let Some(wanted) = std::env::args().nth(1) else {
        parts.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, run)) = parts.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("there is no part `{wanted}`; without a name, all are listed");
        return ExitCode::FAILURE;
    };
    run();
    ExitCode::SUCCESS
}

/// The measured function. Callgrind finds it by its name, so it must not be inlined.
#[inline(never)]
fn measured<T>(part: impl FnOnce() -> T) -> T {
    black_box(part())
}

/// Counts the second run: the first one includes work that is done once per process.
fn warm<T>(part: impl Fn() -> T) {
    drop(part());
    drop(measured(part));
}

fn part(name: &str, variant: &str, run: impl Fn() + 'static) -> Part {
    (format!("{name}/{variant}"), Box::new(run))
}

fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    for (variant, with) in With::ALL {
        parts.push(part("envelope_encode", variant, move || {
            let calls = Calls::new(with);
            warm(|| calls.encode());
        }));
        parts.push(part("envelope_decode", variant, move || {
            let elements = Elements::new(with);
            warm(|| elements.decode());
        }));
    }
    parts.push(part("enqueue_command", "waited", || {
        let batch = Batch::new();
        warm(|| batch.command());
    }));
    parts.push(part("frame_encode", "result", || {
        let answers = Answers::new();
        warm(|| answers.encode());
    }));
    for (variant, kind) in OutcomeKind::ALL {
        parts.push(part("poll_command", variant, move || {
            let poll = WorkerPoll::new(kind);
            warm(|| poll.command());
        }));
    }
    for (variant, record) in [("first", ""), ("again", FAILED_ONCE)] {
        parts.push(part("poll_reply", variant, move || {
            let leases = Leases::new(record);
            drop(polls::read(leases.parse()));
            let reply = leases.parse();
            drop(measured(|| polls::read(reply)));
        }));
    }
    parts.push(part("poll_reply_parse", "first", || {
        let leases = Leases::new("");
        warm(|| leases.parse());
    }));
    parts.push(part("frame_parse", "result", || {
        let frames = Frames::new();
        warm(|| frames.parse());
    }));
    parts.push(part("waiters_register", "batch", || {
        let mut callers = Callers::new();
        measured(|| callers.register());
    }));
    parts.push(part("answers_route", "batch", || {
        let (mut callers, announcement) = (Callers::waiting(), Announcement::new());
        measured(|| callers.receive(&announcement));
    }));
    parts
}
