//! Signals that end a program: SIGINT (Ctrl-C), SIGTERM and SIGHUP.
//!
//! Each ends a wait, so that its call is cancelled, and then the program, with the exit code by
//! which shells report the signal. A signal that the parent process ignores stays ignored, such as
//! SIGHUP under `nohup` and SIGINT in a script's background job.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal as receive};

use crate::diagnostics::failure::Failure;
use crate::diagnostics::output as out;
use crate::diagnostics::report::Problem;
use crate::rules::error::Code;

/// A signal that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGHUP.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl StopSignal {
    const ALL: [Self; 3] = [Self::Hangup, Self::Interrupt, Self::Terminate];

    fn kind(self) -> SignalKind {
        match self {
            Self::Hangup => SignalKind::hangup(),
            Self::Interrupt => SignalKind::interrupt(),
            Self::Terminate => SignalKind::terminate(),
        }
    }

    /// Returns the exit code for this signal, as shells report it: 128 plus its number.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    /// Returns the failure of a wait that this signal ended, with `message`.
    #[must_use]
    pub fn failure(self, message: &str) -> Failure {
        Failure::of(Problem::new(message), Code::Cancelled.as_str(), self.exit_code())
    }
}

/// Returns `true` for the exit code of a verb that a signal ended.
#[must_use]
pub fn is_signal_exit(code: u8) -> bool {
    StopSignal::ALL.iter().any(|signal| signal.exit_code() == code)
}

/// Receives the signals from creation on. They then have no other effect.
pub struct Signals {
    hangup: Option<Signal>,
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Starts to receive.
    ///
    /// # Errors
    ///
    /// Any error of the operating system.
    pub fn subscribe() -> io::Result<Self> {
        let ignored = ignored();
        let listen = |signal: StopSignal| {
            let kind = signal.kind();
            let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or(u32::MAX);
            let is_ignored = ignored.checked_shr(bit).is_some_and(|mask| mask & 1 == 1);
            (!is_ignored).then(|| receive(kind)).transpose()
        };
        Ok(Self {
            hangup: listen(StopSignal::Hangup)?,
            interrupt: listen(StopSignal::Interrupt)?,
            terminate: listen(StopSignal::Terminate)?,
        })
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            () = received(&mut self.hangup) => StopSignal::Hangup,
            () = received(&mut self.interrupt) => StopSignal::Interrupt,
            () = received(&mut self.terminate) => StopSignal::Terminate,
        }
    }
}

/// Ends `waiting` when the reader of standard output closes it: dropping it cancels its call.
///
/// # Errors
///
/// The failure of `waiting`, or of the closed output.
pub async fn unless_closed<T>(
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased; // output that is ready is printed first
        done = waiting => done,
        error = out::closed() => Err(error.into()),
    }
}

/// Ends `waiting` at a signal, with `message`, and as [`unless_closed`].
///
/// # Errors
///
/// The failure of `waiting`, of the closed output, or of the signal.
pub async fn until_interrupted<T>(
    waiting: impl Future<Output = Result<T, Failure>>,
    message: &str,
) -> Result<T, Failure> {
    // Before the request is sent: from here on, a signal always cancels the call.
    let mut signals = Signals::subscribe().map_err(|error| Failure::system(&error))?;
    tokio::select! {
        done = unless_closed(waiting) => done,
        signal = signals.next() => Err(signal.failure(message)),
    }
}

async fn received(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending().await
    }
}

/// Returns the signals ignored at program start: bit 0 is signal 1. Without Linux's /proc, none
/// counts as ignored: reading them otherwise needs unsafe code.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
