//! `example`: a directory indexer over Redcall. This file has only flags and exit codes.
//!
//! | file | holds |
//! |---|---|
//! | `demo/` | the whole stack in one command: Redis, workers, the calling service |
//! | `worker.rs` | a worker with the handlers compiled in |
//! | `handlers/` | the methods, one file each |
//! | `index/` | the calling service |
//! | `mapping.rs` | the settings file, adapted to this machine |
//! | `root.rs`, `walk.rs` | the served directory, and its files |
//! | `failure.rs` | why a command failed, and its exit code |
//!
//! Exit codes: 0 all calls succeeded, 1 a call or a process failed, 2 invalid flags or settings, 3
//! Redis cannot be reached, 130 and 143 ended by SIGINT and SIGTERM.

mod demo;
mod failure;
mod handlers;
mod index;
mod mapping;
mod root;
mod walk;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::Failure;
use redcall_common::output;
use redcall_common::report::Problem;

/// Index a directory by calling jobs over Redis.
///
/// Without a subcommand: the whole demo, with workers and, unless the settings or REDIS_URL set
/// one, a private Redis.
#[derive(Parser)]
#[command(name = "example", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    demo: demo::Demo,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the example's jobs for one directory, until SIGTERM
    Worker(worker::Serve),
    /// Index a directory with workers that run elsewhere
    Index(index::Index),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match redcall_worker::handler_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Failure::new(Problem::of(&error))),
    };
    let done = runtime.block_on(async {
        match cli.verb {
            None => cli.demo.run().await,
            Some(Verb::Worker(serve)) => serve.run().await,
            Some(Verb::Index(index)) => index.run().await,
        }
    });
    // A handler that ignores its cancellation must not delay the exit.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(failure),
    }
}

fn fail(failure: Failure) -> ExitCode {
    for problem in failure.problems {
        output::report(problem);
    }
    ExitCode::from(failure.code)
}
