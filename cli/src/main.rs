//! `redcall`: calls jobs and inspects queues and workers. One file per verb.
//!
//! Exit codes: 0 success; 1 the call ended with an error (code and message on stderr), only a part
//! was done, or doctor or chaos found a problem; 2 invalid flags or settings; 3 Redis cannot be
//! reached; 5 standard output cannot be written; 129, 130 or 143 ended by SIGHUP, SIGINT or
//! SIGTERM; 141 the reader of a pipe has closed it.

mod advice;
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
mod timeout;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use redcall_client::Settings;
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;
use tokio::runtime::Runtime;

use failure::{Failure, json, unreachable};

/// The worker's allocator: calls are many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The heading of the options of every verb.
const GLOBAL: &str = "Global options";

/// Call named jobs over Redis; inspect queues and workers.
///
/// Exit codes:
///   0              success
///   1              the call ended with an error, only a part was done, or doctor or chaos found
///                  a problem
///   2              invalid flags or settings
///   3              Redis cannot be reached
///   5              standard output cannot be written
///   129, 130, 143  ended by SIGHUP, SIGINT or SIGTERM; a waited call is cancelled, `follow` is not
///   141            the reader of a pipe has closed it; a waited call is cancelled
#[derive(Parser)]
#[command(name = "redcall", version, verbatim_doc_comment)]
struct Cli {
    /// Settings file (TOML, YAML or JSON); else REDCALL_SETTINGS, else ./redcall.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    settings: Option<PathBuf>,
    /// Redis URL, instead of the settings' `redis.url`
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
    /// Measure the throughput of Redis and workers
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Enqueue a job; with --wait, print its answer as JSON
    Call(call::Call),
    /// Cancel a job: a waiting job does not start, a running one is notified
    Cancel(cancel::Cancel),
    /// Attack private servers and workers under load, and check the outcome of every call
    ///
    /// It starts a Redis with an append-only file, workers and callers of its own, and uses no
    /// others. If interrupted, it ends and checks the calls made so far. Exit codes: 0 all
    /// guarantees held, 1 some were broken (the history of every call is kept) or the run failed,
    /// 2 invalid flags, 3 no Redis server is installed on this machine.
    #[command(verbatim_doc_comment)]
    Chaos(chaos::Chaos),
    /// A worker of `chaos`
    #[command(hide = true)]
    ChaosWorker(chaos::ChaosWorker),
    /// Interactive session or script: call, wait, stream, commands and events
    ///
    /// At a terminal it has a history and completes names with Tab; `help` lists the verbs.
    /// Otherwise it reads stdin as a script, a verb per line, and exits with 1 if a line failed.
    #[command(verbatim_doc_comment)]
    Console(console::Console),
    /// Dead letters: list, show, retry or purge them
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Check settings, Redis, workers and queues, and name the cure of each problem
    Doctor(doctor::Doctor),
    /// Events: subscribe to a topic, publish on one
    #[command(subcommand)]
    Events(events::Events),
    /// Stream the output of a job started by another process: one JSON object per line
    ///
    /// Printed frames are trimmed from Redis, so that the job is not blocked. The job goes on if
    /// this is interrupted.
    Follow(follow::Follow),
    /// Follow the status of a tracked job to its end, one line per change
    Monitor(status::Monitor),
    /// Pause queues: running jobs finish, no job starts
    Pause(pause::Queues),
    /// Resume paused queues
    Resume(pause::Queues),
    /// List the queues: state, waiting, running and held jobs, dead letters, workers
    Queues,
    /// Call an instance of a service, or print its state
    Service(service::Service),
    /// Settle a deferred answer with its completion token
    ///
    /// The token is read from REDCALL_TOKEN, or else from the first line of stdin: other users of
    /// this machine can see arguments.
    #[command(verbatim_doc_comment)]
    Settle(settle::Settle),
    /// Print the status of a tracked job: Pending, Processing, Success or Error, with its time
    Status(status::Status),
    /// List the workers: their queues, running jobs, and jobs that exceed their timeout
    Workers,
}

fn main() -> ExitCode {
    // Without this, a file size limit ends the program without a message.
    let _ = out::outlive_size_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return help(&shown),
    };
    let as_json = cli.json;
    let done = match cli.verb {
        // It creates a runtime of its own.
        Verb::ChaosWorker(worker) => worker.serve().map(|()| 0),
        _ => match Runtime::new() {
            Ok(runtime) => {
                let done = runtime.block_on(run(cli));
                // A pending host name lookup must not delay the exit.
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

/// Prints a help text, a version or a flag error, and returns the exit code.
fn help(shown: &clap::Error) -> ExitCode {
    let printed = shown.print().map_err(Unwritten::from).and_then(|()| out::print(""));
    match printed {
        Err(unwritten) if !shown.use_stderr() => Failure::from(unwritten).end(false),
        _ => ExitCode::from(u8::try_from(shown.exit_code()).unwrap_or(2)),
    }
}

/// Runs the verb and returns the exit code.
async fn run(mut cli: Cli) -> Result<u8, Failure> {
    if let Verb::Call(call) = &mut cli.verb {
        call.read_data()?; // before connecting: invalid data need no Redis
    }
    if let Verb::Chaos(chaos) = cli.verb {
        return chaos.run(cli.json).await; // uses servers and settings of its own
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
        return doctor.run(settings, cli.json).await; // works without Redis, too
    }
    let client = timeout::connect(&mut cli.verb, &settings).await?;
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
        // Handled above.
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

/// Parses a queue name.
fn queue(text: &str) -> Result<String, String> {
    if redcall_common::name::is_queue(text) {
        return Ok(text.to_owned());
    }
    Err("expected a queue name: 1 to 64 of [A-Za-z0-9_.-]".to_owned())
}
