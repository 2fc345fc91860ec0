//! `redcall-gateway`: serves the doors of a settings file. Parses flags, prints messages.
//!
//! Exit codes: 0 ended as requested; 1 could not run (Redis not reachable, an address in use); 2
//! invalid settings or flags; 5 cannot write to standard output; 141 standard output is a closed
//! pipe.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use redcall_common::failure;
use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_gateway::{DoorError, Gateway, GatewayError, Stop};
use redcall_worker::{handler_runtime, init_log};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Messages come and go, most of them freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serve the doors of a settings file: programs of older systems call and run Redcall's jobs
///
/// Exit codes: 0 ended as requested, 1 could not run, 2 invalid settings or flags, 5 cannot write
/// to standard output, 141 standard output is a closed pipe
#[derive(Parser)]
#[command(name = "redcall-gateway", version, verbatim_doc_comment)]
struct Cli {
    /// Settings file (TOML, YAML or JSON) [default: $REDCALL_SETTINGS, else ./redcall.toml]
    #[arg(long, value_name = "FILE", global = true)]
    settings: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Check settings, certificates and Redis; print the doors
    Check,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return failure::help(shown.print(), shown.use_stderr(), shown.exit_code()),
    };
    let settings = match Settings::load(cli.settings.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return fail(Problem::settings(&error), 2),
    };
    let log = init_log(&settings.log);
    let runtime = match handler_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(vec![Problem::of(&error)], 1),
    };
    let done = match cli.verb {
        Some(Verb::Check) => {
            let code = runtime.block_on(check::run(settings));
            runtime.shutdown_background();
            return code;
        }
        None => runtime.block_on(serve(settings)),
    };
    runtime.shutdown_background();
    let Err((problem, code)) = done else { return ExitCode::SUCCESS };
    // Printed by the log, which does not block.
    log.print(&format!("{:?}", miette::Report::new(problem)));
    ExitCode::from(code)
}

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends it at once.
async fn serve(settings: Settings) -> Result<(), (Problem, u8)> {
    let (sender, stop) = watch::channel(Stop::No);
    let signals = async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for level in [Stop::Drain, Stop::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!(stop = ?level, "signal received");
            sender.send_replace(level);
        }
        std::future::pending::<std::io::Result<()>>().await
    };
    let serving = async {
        let mut opening = stop.clone();
        let gateway = tokio::select! {
            opened = Gateway::open(settings) => opened?,
            _ = opening.wait_for(|level| *level > Stop::No) => return Ok(()),
        };
        gateway.run_until(stop).await
    };
    tokio::select! {
        done = serving => done.map_err(|error| problem(&error)),
        refused = signals => refused.map_err(|error| (Problem::of(&error), 1)),
    }
}

/// Returns the problem of an error, and its exit code.
fn problem(error: &GatewayError) -> (Problem, u8) {
    match error {
        GatewayError::NoDoors => {
            let help = "Add [gateways.NAME] with a protocol; see docs/guide/gateway.md.";
            (Problem::of(error).help(help), 2)
        }
        GatewayError::Door { source: DoorError::File { .. }, .. } => (Problem::of(error), 2),
        GatewayError::Door { source: DoorError::Listen { .. }, .. }
        | GatewayError::Admin { .. } => {
            let help = "Free the address (another gateway may have the same settings), or set \
                        another one; with port 0 the system chooses one, and the log names it.";
            (Problem::of(error).help(help), 1)
        }
        GatewayError::Door { source: DoorError::Store(store), .. } => {
            (Problem::of(error).help(store.help()), 1)
        }
        GatewayError::Redis(error) => (Problem::from(error), 1),
        GatewayError::Door { .. } | GatewayError::System(_) => (Problem::of(error), 1),
    }
}

fn fail(problems: Vec<Problem>, code: u8) -> ExitCode {
    for problem in problems {
        out::report(problem);
    }
    ExitCode::from(code)
}
