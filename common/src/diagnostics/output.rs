//! Standard output and standard error of the programs: the only access to both.
//!
//! A report goes to standard output by [`line()`] or [`print()`], which return their errors. A
//! closed pipe ends a program quietly with [`CLOSED`]. Any other error is printed on standard
//! error, and ends the program with [`UNWRITTEN`]. All other text goes to standard error by
//! [`hint`], which never fails.
//!
//! Both apply [`crate::clean`], so that foreign text cannot control a terminal. Only coloured text
//! is not cleaned here: [`report`] cleans its parts where they are created.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::LazyLock;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::diagnostics::clean::clean_json;
use crate::diagnostics::report::Problem;
pub use crate::diagnostics::unwritten::{CLOSED, UNWRITTEN, Unwritten};

/// Makes a write beyond the limit on the size of files (`ulimit -f`) fail, instead of ending the
/// process with `SIGXFSZ`.
///
/// The handler is Tokio's, and stays for the life of the process. Unlike an ignored signal, a
/// handler is not inherited by child programs.
///
/// # Errors
///
/// If the operating system refuses an event queue or the handler.
pub fn outlive_size_limit() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let handled = {
        let _entered = runtime.enter();
        signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
    };
    // Dropping it would block, which async code must not.
    runtime.shutdown_background();
    handled
}

/// Prints `text` and a line feed on standard output, and flushes it.
///
/// # Errors
///
/// If it cannot be written; a part of it may have been.
pub fn line(text: impl Display) -> Result<(), Unwritten> {
    print(format_args!("{text}\n"))
}

/// Prints `text` on standard output without a line feed, and flushes it.
///
/// # Errors
///
/// As [`line()`].
pub fn print(text: impl Display) -> Result<(), Unwritten> {
    // In one write: a table that is written row by row costs a system call per row.
    let text = text.to_string();
    let mut stdout = io::stdout().lock();
    stdout.write_all(clean_json(&text).as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints `text` and a line feed on standard error. Ignores errors: there is no other place to
/// report them.
pub fn hint(text: impl Display) {
    let text = format!("{text}\n");
    let _ = io::stderr().lock().write_all(clean_json(&text).as_bytes());
}

/// Prints an error on standard error, for operators; in colour if that is a terminal. Ignores
/// errors, like [`hint`].
pub fn report(problem: Problem) {
    let text = format!("{:?}\n", miette::Report::new(problem));
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Waits until the reader of standard output has closed it, and returns the error that the next
/// write would return. Never returns for files. Cancel-safe.
///
/// A program that waits for something to print ends with it, as it would at its next line.
pub async fn closed() -> Unwritten {
    // One thread for the process: a poll cannot be cancelled.
    static READER: LazyLock<watch::Receiver<bool>> = LazyLock::new(|| {
        let (has_gone, seen) = watch::channel(false);
        // Without a thread, the next line finds out.
        let _ = thread::Builder::new().name("stdout".into()).spawn(move || {
            if reader_goes() {
                has_gone.send_replace(true);
            }
        });
        seen
    });
    match READER.clone().wait_for(|has_gone| *has_gone).await {
        Ok(_) => Unwritten::from(io::Error::from(io::ErrorKind::BrokenPipe)),
        Err(_) => std::future::pending().await,
    }
}

/// Blocks until the reader of standard output has closed it; returns `false` if that cannot be
/// detected.
fn reader_goes() -> bool {
    let stdout = io::stdout();
    loop {
        // Errors and the end of a connection are always reported.
        let mut stream = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut stream, None) {
            Ok(_) => return stream[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// The modes of the terminal on standard input, restored on drop: a line editor that is interrupted
/// leaves its own modes.
pub struct TerminalModes(Option<Termios>);

impl TerminalModes {
    /// Saves the current modes; `None` if standard input is not a terminal.
    #[must_use]
    pub fn keep() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for TerminalModes {
    fn drop(&mut self) {
        if let Some(modes) = &self.0 {
            // A closed terminal has no modes.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}

/// Returns `true` if standard output is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
