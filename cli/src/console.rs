//! `redcall console`: many lines over one client, at a terminal or from a script.
//!
//! | file | holds |
//! |---|---|
//! | `parse.rs` | the verbs, and splitting a line into words |
//! | `names.rs` | names for completion: from the settings, live workers and the session |
//! | `complete.rs` | completions at a position of a line |
//! | `input.rs` | reading lines from the line editor or stdin; the history file |
//! | `print.rs` | output while a line is being edited |
//! | `session.rs` | execution of the verbs |
//!
//! At the end of an interactive session, open commands are cancelled; at the end of a script, they
//! are awaited.

mod complete;
mod input;
mod names;
mod parse;
mod print;
mod session;

use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use redcall_client::{Client, Settings};
use redcall_common::output as out;
use tokio::time::timeout;

use input::{Input, Read};
use names::Names;
use print::Printer;
use redcall_common::failure::Failure;
use redcall_common::signals::{Signals, StopSignal, is_signal_exit};
use session::{Flow, INTERRUPTED, Session};

/// Message of a signal that ends the session.
/// How long the first prompt waits for the names of the workers.
const FIRST_NAMES: Duration = Duration::from_secs(1);

/// Options of a session.
#[derive(Args)]
pub(crate) struct Console {
    /// Keep no history; else it is stored in redcall/console-history of the state directory
    /// (XDG_STATE_HOME, else ~/.local/state), except for lines that begin with a space
    #[arg(long)]
    no_history: bool,
}

impl Console {
    /// Runs the session and returns its exit code.
    pub(crate) async fn run(
        self,
        client: &Client,
        settings: &Settings,
        as_json: bool,
    ) -> Result<u8, Failure> {
        // From here on, a signal ends the current wait and, after the cancellation, the program; at
        // a terminal, Ctrl-C ends only the wait.
        let signals = Signals::subscribe().map_err(|error| Failure::system(&error))?;
        let names = Names::of(settings);
        if std::io::stdin().is_terminal() && out::is_terminal() {
            let _modes = out::TerminalModes::keep();
            let _ = timeout(FIRST_NAMES, names.refresh(client)).await;
            let (input, printer) = input::terminal(names.clone(), !self.no_history)?;
            let mut session = Session::new(client, names, printer, as_json);
            let end = at_terminal(&mut session, input, signals).await;
            let left = session.leave().await;
            end.and_then(|code| left.map(|()| code))
        } else {
            let (printer, mut unwritten) = Printer::direct();
            let mut session = Session::new(client, names, printer, as_json);
            let end = tokio::select! {
                biased;
                // Dropping the script ends its waits.
                Some(error) = unwritten.recv() => Err(error.into()),
                error = out::closed() => Err(error.into()),
                end = of_script(&mut session, input::script(), signals) => end,
            };
            let left = session.leave().await;
            end.and_then(|code| left.map(|()| code))
        }
    }
}

/// Runs an interactive session.
async fn at_terminal(
    session: &mut Session,
    mut input: Input,
    mut signals: Signals,
) -> Result<u8, Failure> {
    loop {
        session.refresh_names();
        let read = {
            let mut reading = pin!(input.next());
            loop {
                tokio::select! {
                    read = &mut reading => break read,
                    signal = signals.next() => match signal {
                        // It belongs to the previous line.
                        StopSignal::Interrupt => {}
                        signal => return Err(signal.failure(INTERRUPTED)),
                    },
                }
            }
        };
        match read {
            Ok(Read::Line(line)) => match session.execute(&line).await {
                Ok(Flow::Continue) => {}
                Ok(Flow::Quit) => break,
                Err(failure) if failure.is_unwritten() => return Err(failure),
                Err(failure) => {
                    let ends = failure.code != StopSignal::Interrupt.exit_code();
                    if is_signal_exit(failure.code) && ends {
                        return Err(failure);
                    }
                    session.report(failure)?;
                }
            },
            Ok(Read::Broken) => session.report(input::not_text())?,
            Ok(Read::Cleared) => {}
            Ok(Read::End) => break,
            Err(error) => return Err(Failure::system(&error)),
        }
    }
    Ok(0)
}

/// Runs the lines of a script.
async fn of_script(
    session: &mut Session,
    mut input: Input,
    mut signals: Signals,
) -> Result<u8, Failure> {
    let mut has_failed = false;
    loop {
        let read = tokio::select! {
            read = input.next() => read,
            signal = signals.next() => return Err(signal.failure(INTERRUPTED)),
        };
        match read {
            Ok(Read::Line(line)) => match session.execute(&line).await {
                Ok(Flow::Continue) => {}
                Ok(Flow::Quit) => break,
                Err(failure) if is_signal_exit(failure.code) || failure.is_unwritten() => {
                    return Err(failure);
                }
                Err(failure) => {
                    has_failed = true;
                    session.report(failure)?;
                }
            },
            Ok(Read::Broken) => {
                has_failed = true;
                session.report(input::not_text())?;
            }
            Ok(Read::Cleared) => {}
            Ok(Read::End) => break,
            Err(error) => return Err(Failure::system(&error)),
        }
    }
    tokio::select! {
        succeeded = session.finish() => Ok(u8::from(has_failed || !succeeded)),
        signal = signals.next() => Err(signal.failure(INTERRUPTED)),
    }
}
