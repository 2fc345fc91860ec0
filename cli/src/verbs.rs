//! The verbs of `redcall` and the options that all of them share.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::external::External;
use crate::{call, cancel, console, dead, doctor, events, follow, pause, service, settle, status};

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
///   129, 130, 143  ended by SIGHUP, SIGINT or SIGTERM; a waited call is cancelled, a followed
///                  job is not
///   141            the reader of a pipe has closed it; a waited call is cancelled
#[derive(Parser)]
#[command(name = "redcall", version, verbatim_doc_comment)]
pub(crate) struct Cli {
    /// Settings file (TOML, YAML or JSON); else REDCALL_SETTINGS, else ./redcall.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) settings: Option<PathBuf>,
    /// Redis URL, instead of the settings' `redis.url`
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    pub(crate) redis: Option<String>,
    /// Print JSON, also for errors
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Measure the throughput of Redis and workers
    #[command(disable_help_flag = true)]
    Bench(External),
    /// Enqueue a job; with --wait, print its answer as JSON
    Call(call::Call),
    /// Cancel a job: a waiting job does not start, a running one is notified
    Cancel(cancel::Cancel),
    /// Attack private servers and workers under load, and check the outcome of every call
    #[command(disable_help_flag = true)]
    Chaos(External),
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
