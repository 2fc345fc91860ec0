//! `redcall console`: many lines over one client, by a person at a terminal or by a script.
//!
//! | file | holds |
//! |---|---|
//! | `parse.rs` | what can be typed: the verbs, and how a line falls into words |
//! | `names.rs` | what Tab knows: names from the settings, from live workers, from the session |
//! | `complete.rs` | what Tab offers at a place of a line |
//! | `input.rs` | where lines come from: the line editor or stdin; the history's file |
//! | `print.rs` | what is printed beside the line that is being typed |
//! | `session.rs` | what each verb does, by the code of the verbs outside |
//!
//! A session ends what it has begun: its commands are cancelled where a person leaves, and waited
//! for where a script ends.

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

use crate::failure::Failure;
use crate::signals::{Ending, Endings, has_ended};
use input::{Input, Read};
use names::Names;
use print::Printer;
use session::{Session, Then};

/// What a signal says that ends the session.
const INTERRUPTED: &str = "interrupted";
/// How long the first prompt waits for the names of the workers.
const FIRST_NAMES: Duration = Duration::from_secs(1);

/// How the session goes.
#[derive(Args)]
pub(crate) struct Console {
    /// Keep no history; else it is in redcall/console-history of the folder for states
    /// (XDG_STATE_HOME, else ~/.local/state), except for lines that begin with a space
    #[arg(long)]
    no_history: bool,
}

impl Console {
    /// The exit code: that of the whole session.
    pub(crate) async fn run(
        self,
        client: &Client,
        settings: &Settings,
        as_json: bool,
    ) -> Result<u8, Failure> {
        // From here on a signal ends what is waited for, and the program when that has been
        // withdrawn; at a terminal Ctrl-C ends nothing else.
        let endings = Endings::listen().map_err(|error| Failure::system(&error))?;
        let names = Names::of(settings);
        if std::io::stdin().is_terminal() && out::is_terminal() {
            let _modes = out::TerminalModes::keep();
            let _ = timeout(FIRST_NAMES, names.refresh(client)).await;
            let (input, printer) = input::terminal(names.clone(), !self.no_history)?;
            let mut session = Session::new(client, names, printer, as_json);
            let end = at_terminal(&mut session, input, endings).await;
            let left = session.leave().await;
            end.and_then(|code| left.map(|()| code))
        } else {
            let (printer, mut unwritten) = Printer::direct();
            let mut session = Session::new(client, names, printer, as_json);
            let end = tokio::select! {
                biased;
                // Dropped, the script gives up what it waits for.
                Some(error) = unwritten.recv() => Err(error.into()),
                error = out::closed() => Err(error.into()),
                end = of_script(&mut session, input::script(), endings) => end,
            };
            let left = session.leave().await;
            end.and_then(|code| left.map(|()| code))
        }
    }
}

/// A person types.
async fn at_terminal(
    session: &mut Session,
    mut input: Input,
    mut endings: Endings,
) -> Result<u8, Failure> {
    loop {
        session.refresh_names();
        let read = {
            let mut reading = pin!(input.next());
            loop {
                tokio::select! {
                    read = &mut reading => break read,
                    ending = endings.next() => match ending {
                        // It was for what was waited for before.
                        Ending::Interrupt => {}
                        ending => return Err(ending.failure(INTERRUPTED)),
                    },
                }
            }
        };
        match read {
            Ok(Read::Line(line)) => match session.carry_out(&line).await {
                Ok(Then::GoOn) => {}
                Ok(Then::Quit) => break,
                Err(failure) if failure.is_unwritten() => return Err(failure),
                Err(failure) => {
                    let ends = failure.code != Ending::Interrupt.exit_code();
                    if has_ended(failure.code) && ends {
                        return Err(failure);
                    }
                    session.complain(failure)?;
                }
            },
            Ok(Read::Broken) => session.complain(input::not_text())?,
            Ok(Read::Cleared) => {}
            Ok(Read::End) => break,
            Err(error) => return Err(Failure::system(&error)),
        }
    }
    Ok(0)
}

/// The lines of a script, up to its end.
async fn of_script(
    session: &mut Session,
    mut input: Input,
    mut endings: Endings,
) -> Result<u8, Failure> {
    let mut has_failed = false;
    loop {
        let read = tokio::select! {
            read = input.next() => read,
            ending = endings.next() => return Err(ending.failure(INTERRUPTED)),
        };
        match read {
            Ok(Read::Line(line)) => match session.carry_out(&line).await {
                Ok(Then::GoOn) => {}
                Ok(Then::Quit) => break,
                Err(failure) if has_ended(failure.code) || failure.is_unwritten() => {
                    return Err(failure);
                }
                Err(failure) => {
                    has_failed = true;
                    session.complain(failure)?;
                }
            },
            Ok(Read::Broken) => {
                has_failed = true;
                session.complain(input::not_text())?;
            }
            Ok(Read::Cleared) => {}
            Ok(Read::End) => break,
            Err(error) => return Err(Failure::system(&error)),
        }
    }
    tokio::select! {
        well = session.finish() => Ok(u8::from(has_failed || !well)),
        ending = endings.next() => Err(ending.failure(INTERRUPTED)),
    }
}
