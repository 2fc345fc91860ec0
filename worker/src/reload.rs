//! SIGHUP: the job mapping, the keys of `[auth]` and the schedules are read again, while jobs run.
//!
//! Nothing else of the settings is: what concerns connections, queues and slots needs a restart.

use std::io;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::error::WorkerError;
use crate::failure::whole;
use crate::mapping::{Compiled, Mapping};
use crate::state::States;

/// What is taken over from settings that were read again.
pub(crate) struct Reloaded {
    pub(crate) mapping: Mapping,
    /// As at the start, but for `jobs`, `auth` and `schedules`.
    pub(crate) settings: Settings,
}

/// What it takes to make a mapping again.
pub(crate) struct Source {
    pub(crate) settings: Settings,
    pub(crate) compiled: Compiled,
    pub(crate) states: States,
}

/// Reads the settings again at each SIGHUP, until nobody hears it any more. An invalid file is
/// logged and changes nothing.
///
/// # Errors
///
/// When the operating system refuses the signal.
pub(crate) fn listen(source: Source) -> io::Result<mpsc::Receiver<Reloaded>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let source = Arc::new(source);
    let (reloads, reloaded) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                signal = hangup.recv() => if signal.is_none() { return },
                () = reloads.closed() => return,
            }
            if source.settings.file.is_none() {
                // The environment of a process does not change, and what was set in code would go.
                tracing::warn!("SIGHUP: there is no settings file to read again");
                continue;
            }
            // Files and `PATH` are looked at: not on a thread that handlers need.
            let reading = source.clone();
            let Ok(read) = spawn_blocking(move || reading.read()).await else { return };
            match read {
                Ok(reloaded) => {
                    if reloads.send(reloaded).await.is_err() {
                        return;
                    }
                }
                Err(error) => refused(&error),
            }
        }
    });
    Ok(reloaded)
}

/// Logs each mistake, and what to do about it.
fn refused(error: &WorkerError) {
    let what = "the settings cannot be used; the jobs stay as they are";
    match error {
        WorkerError::Settings(error) => {
            for error in error.mistakes() {
                tracing::error!(error = %whole(&error), help = error.help(), "{what}");
            }
        }
        error => tracing::error!(error = %whole(&error), "{what}"),
    }
}

impl Source {
    fn read(&self) -> Result<Reloaded, WorkerError> {
        let read = Settings::load(self.settings.file.as_deref())?;
        let mut settings = self.settings.clone();
        (settings.jobs, settings.schedules) = (read.jobs, read.schedules);
        (settings.pools, settings.auth) = (read.pools, read.auth);
        Ok(Reloaded { mapping: self.mapping_of(&settings)?, settings })
    }

    /// The mapping of some settings, with everything that it needs looked up.
    fn mapping_of(&self, settings: &Settings) -> Result<Mapping, WorkerError> {
        let mapping = Mapping::new(settings, &self.compiled)?;
        mapping.check(&self.states)?;
        Ok(mapping)
    }

    /// The mapping at the start.
    pub(crate) fn mapping(&self) -> Result<Mapping, WorkerError> {
        self.mapping_of(&self.settings)
    }
}
