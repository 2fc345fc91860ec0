//! `redcall`: calls jobs and inspects queues and workers. One file per verb: `verbs.rs` lists
//! them.
//!
//! Exit codes: 0 success; 1 the call ended with an error (code and message on stderr), only a part
//! was done, or doctor or chaos found a problem; 2 invalid flags or settings; 3 Redis cannot be
//! reached; 5 standard output cannot be written; 129, 130 or 143 ended by SIGHUP, SIGINT or
//! SIGTERM; 141 the reader of a pipe has closed it.

mod output;
mod program;
mod verb;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;
use redcall_common::failure::{self, Failure};
use redcall_common::output as out;
use tokio::runtime::Runtime;

use program::Cli;
use verb::Options;

/// The worker's allocator: calls are many small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Without this, a file size limit ends the program without a message.
    let _ = out::outlive_size_limit();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => {
            return failure::help(shown.print(), shown.use_stderr(), shown.exit_code());
        }
    };
    let Cli { settings, redis, json: as_json, verb } = cli;
    let options = Options { settings, redis, as_json };
    let done = match Runtime::new() {
        Ok(runtime) => {
            let done = runtime.block_on(verb.start(&options));
            // A pending host name lookup must not delay the exit.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::system(&error)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(as_json),
    }
}
