//! `redcall`: calls jobs and inspects queues and workers. One file per verb.
//!
//! Exit codes: 0 success; 1 the call ended with an error (code and message on stderr), only a part
//! was done, or doctor or chaos found a problem; 2 invalid flags or settings; 3 Redis cannot be
//! reached; 5 standard output cannot be written; 129, 130 or 143 ended by SIGHUP, SIGINT or
//! SIGTERM; 141 the reader of a pipe has closed it.

mod advice;
mod call;
mod cancel;
mod console;
mod dead;
mod doctor;
mod events;
mod external;
mod follow;
mod output;
mod pause;
mod queues;
mod service;
mod settle;
mod status;
mod timeout;
mod verbs;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;
use redcall_client::Settings;
use redcall_common::failure::{self, Failure};
use redcall_common::output as out;
use tokio::runtime::Runtime;

use verbs::{Cli, Verb};

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
    let as_json = cli.json;
    let program = match &cli.verb {
        Verb::Bench(external) => Some(("redcall-bench", external)),
        Verb::Chaos(external) => Some(("redcall-chaos", external)),
        _ => None,
    };
    if let Some((program, external)) = program {
        return external
            .start(program, cli.settings.as_deref(), cli.redis.as_deref(), as_json)
            .end(as_json);
    }
    let done = match Runtime::new() {
        Ok(runtime) => {
            let done = runtime.block_on(run(cli));
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

/// Runs the verb and returns the exit code.
async fn run(mut cli: Cli) -> Result<u8, Failure> {
    if let Verb::Call(call) = &mut cli.verb {
        call.read_data()?; // before connecting: invalid data need no Redis
    }
    let mut settings = Settings::load(cli.settings.as_deref())?;
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
        Verb::Call(call) => call.run(&client, cli.json).await,
        Verb::Cancel(cancel) => cancel.run(&client, cli.json).await,
        Verb::Dead(dead) => dead.run(&client, cli.json).await,
        Verb::Events(events) => events.run(&client, cli.json).await,
        Verb::Follow(follow) => follow.run(&client).await,
        // Handled above.
        Verb::Bench(_) | Verb::Chaos(_) | Verb::Console(_) | Verb::Doctor(_) => Ok(()),
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
