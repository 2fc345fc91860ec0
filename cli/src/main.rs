//! `redcall`: call jobs, look at queues and workers. One file per verb.
//!
//! Exit codes: 0 done, 1 the call ended with an error (its code and message are on stderr), not
//! all was done, or doctor or chaos found something, 2 wrong flags or settings, 3 Redis cannot be
//! reached, 5 standard output cannot be written, 129, 130 or 143 ended by SIGHUP, SIGINT or
//! SIGTERM, 141 the reader of a pipe has gone.

mod bench;
mod call;
mod cancel;
mod chaos;
mod console;
mod dead;
mod doctor;
mod events;
mod failure;
mod follow;
mod output;
mod pause;
mod queues;
mod service;
mod settle;
mod signals;
mod status;
mod within;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use redcall_client::Settings;
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;
use tokio::runtime::Runtime;

use failure::{Failure, json, unreachable};

/// As in the worker: calls are many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The heading of the options that every verb has.
const GLOBAL: &str = "Global options";

/// Call named jobs over Redis; look at queues and workers.
///
/// Exit codes: 0 done, 1 the call ended with an error, not all was done or doctor or chaos found
/// something, 2 wrong flags or settings, 3 Redis cannot be reached, 5 standard output cannot be
/// written, 129, 130 or 143 ended by SIGHUP, SIGINT or SIGTERM while waiting (the call is
/// cancelled, but not by `follow`), 141 the reader of a pipe has gone (a call that was waited for
/// is cancelled).
#[derive(Parser)]
#[command(name = "redcall", version, verbatim_doc_comment)]
struct Cli {
    /// Settings file (TOML, YAML or JSON); else REDCALL_SETTINGS, else ./redcall.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    settings: Option<PathBuf>,
    /// Redis to use instead of the settings'
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    redis: Option<String>,
    /// Print JSON, also for errors
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Load Redis and workers, and say how fast it went
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Queue a job; with --wait, print its answer as JSON
    Call(call::Call),
    /// Cancel a job: what waits does not start, what runs is told
    Cancel(cancel::Cancel),
    /// Attack private servers and workers under load, and judge what became of every call
    ///
    /// It starts a Redis with an append-only file, workers and callers of its own, and touches no
    /// others. Interrupted, it ends and judges what was done so far. Exit codes: 0 all promises
    /// held, 1 some were broken (the history of every call is left) or it could not be carried
    /// out, 2 wrong flags, 3 no Redis server was found on this machine.
    #[command(verbatim_doc_comment)]
    Chaos(chaos::Chaos),
    /// A worker of `chaos`
    #[command(hide = true)]
    ChaosWorker(chaos::ChaosWorker),
    /// Call, wait, follow and command in one session, with events as they come
    ///
    /// At a terminal it has a history and completes names with Tab; `help` lists what can be typed.
    /// Otherwise it reads stdin as a script, a verb per line, and ends with 1 if any has failed.
    #[command(verbatim_doc_comment)]
    Console(console::Console),
    /// Dead letters: list and show them, have them run again, throw them away
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Say what is wrong, or may go wrong, and what to do about it; calls nothing unless told to
    Doctor(doctor::Doctor),
    /// Events: follow a topic, publish on one
    #[command(subcommand)]
    Events(events::Events),
    /// Print what a job sends that somebody else has called: one JSON object per line
    ///
    /// It takes over the reading: what it has printed is dropped at Redis, so that the job goes on.
    /// The job itself goes on when this is interrupted.
    Follow(follow::Follow),
    /// Follow the status of a monitored job to its end, one line per change
    Monitor(status::Monitor),
    /// Pause queues: what runs goes on, nothing starts
    Pause(pause::Queues),
    /// Let paused queues go on
    Resume(pause::Queues),
    /// List the queues: paused or open, what waits where, dead letters, workers
    Queues,
    /// Ask an instance of a service, or print its state
    Service(service::Service),
    /// Answer a job whose handler has put the answer off, with its token
    ///
    /// The token is read from REDCALL_TOKEN, or else from the first line of stdin: arguments can be
    /// seen by others on this machine.
    #[command(verbatim_doc_comment)]
    Settle(settle::Settle),
    /// Print the status of a monitored job: Pending, Processing, Success or Error, and since when
    Status(status::Status),
    /// List the workers: what they run, and what ignores its timeout
    Workers,
}

fn main() -> ExitCode {
    // Without it, a file that is too large ends the program without a word.
    let _ = out::outlive_size_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return help(&shown),
    };
    let as_json = cli.json;
    let done = match cli.verb {
        // It has a runtime of its own.
        Verb::ChaosWorker(worker) => worker.serve().map(|()| 0),
        _ => match Runtime::new() {
            Ok(runtime) => {
                let done = runtime.block_on(run(cli));
                // A host name that is still looked up must not keep the program.
                runtime.shutdown_background();
                done
            }
            Err(error) => Err(Failure::system(&error)),
        },
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(as_json),
    }
}

/// Prints a help text, a version or a complaint about flags, each where it belongs.
fn help(shown: &clap::Error) -> ExitCode {
    let printed = shown.print().map_err(Unwritten::from).and_then(|()| out::print(""));
    match printed {
        Err(unwritten) if !shown.use_stderr() => Failure::from(unwritten).end(false),
        _ => ExitCode::from(u8::try_from(shown.exit_code()).unwrap_or(2)),
    }
}

/// The exit code of a verb that has done its work.
async fn run(mut cli: Cli) -> Result<u8, Failure> {
    if let Verb::Call(call) = &mut cli.verb {
        call.read_data()?; // a wrong call needs no Redis
    }
    if let Verb::Chaos(chaos) = cli.verb {
        return chaos.run(cli.json).await; // it has servers and settings of its own
    }
    let mut settings = Settings::load(cli.settings.as_deref()).map_err(|error| Failure {
        json: json("invalid_settings", &error.to_string()),
        problems: Problem::settings(&error),
        code: 2,
    })?;
    if let Some(url) = cli.redis {
        settings.redis.url = url;
    }
    if let Verb::Doctor(doctor) = cli.verb {
        return doctor.run(settings, cli.json).await; // it looks further where Redis is away
    }
    let client = within::connected(&mut cli.verb, &settings).await?;
    if let Verb::Console(console) = cli.verb {
        let code = console.run(&client, &settings, cli.json).await;
        client.flush().await;
        return code;
    }
    let done = match cli.verb {
        Verb::Bench(bench) => bench.run(&client, cli.json).await,
        Verb::Call(call) => call.run(&client, cli.json).await,
        Verb::Cancel(cancel) => cancel.run(&client, cli.json).await,
        Verb::Dead(dead) => dead.run(&client, cli.json).await,
        Verb::Events(events) => events.run(&client, cli.json).await,
        Verb::Follow(follow) => follow.run(&client).await,
        // They have run.
        Verb::Chaos(_) | Verb::ChaosWorker(_) | Verb::Console(_) | Verb::Doctor(_) => Ok(()),
        Verb::Monitor(monitor) => monitor.run(&client, cli.json).await,
        Verb::Pause(queues) => queues.run(&client, true, cli.json).await,
        Verb::Resume(queues) => queues.run(&client, false, cli.json).await,
        Verb::Settle(settle) => settle.run(&client, cli.json).await,
        Verb::Queues => queues::run(&client, cli.json).await,
        Verb::Service(service) => service.run(&client).await,
        Verb::Status(status) => status.run(&client, cli.json).await,
        Verb::Workers => workers::run(&client, cli.json).await,
    };
    client.flush().await;
    done.map(|()| 0)
}

/// A queue's name, if it can be one.
fn queue(text: &str) -> Result<String, String> {
    if redcall_common::name::is_queue(text) {
        return Ok(text.to_owned());
    }
    Err("a queue's name has 1 to 64 of [A-Za-z0-9_.-]".to_owned())
}
