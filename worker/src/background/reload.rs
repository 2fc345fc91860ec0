//! Reload at SIGHUP: the job mapping, the keys of `[auth]` and the schedules, while jobs run.
//!
//! All other settings need a restart: connections, queues, concurrency.

use std::io;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Background;
use crate::causes::with_causes;
use crate::error::WorkerError;
use crate::handler::Compiled;
use crate::handler::compiled::state::StateMap;
use crate::mapping::Mapping;

/// The reloaded parts of the settings.
pub(crate) struct Reloaded {
    pub(crate) mapping: Mapping,
    /// The settings of the start, with `jobs`, `auth` and `schedules` replaced.
    pub(crate) settings: Settings,
}

/// Everything needed to make a mapping again.
pub(crate) struct Source {
    pub(crate) settings: Settings,
    pub(crate) compiled: Compiled,
    pub(crate) states: StateMap,
}

/// Reloads the settings at each SIGHUP. Logs an invalid file, which changes nothing.
///
/// # Errors
///
/// If the operating system refuses the signal.
pub(crate) fn spawn(source: Source) -> io::Result<(Background, mpsc::Receiver<Reloaded>)> {
    let mut hangup = signal(SignalKind::hangup())?;
    let source = Arc::new(source);
    let (reloads, reloaded) = mpsc::channel(1);
    let background = Background::spawn("reload", async move {
        loop {
            tokio::select! {
                signal = hangup.recv() => if signal.is_none() { return },
                () = reloads.closed() => return,
            }
            if source.settings.file.is_none() {
                // The environment of a process does not change, and a reload would lose settings
                // made in code.
                tracing::warn!("ignoring SIGHUP: the worker has no settings file to reload");
                continue;
            }
            // Reading files and `PATH` blocks: not on a thread that handlers need.
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
    Ok((background, reloaded))
}

/// Logs each mistake, and its correction.
fn refused(error: &WorkerError) {
    let what = "the new settings are invalid: keeping the present ones";
    match error {
        WorkerError::Settings(error) => {
            for error in error.mistakes() {
                tracing::error!(error = %with_causes(&error), help = error.help(), "{what}");
            }
        }
        error => tracing::error!(error = %with_causes(&error), "{what}"),
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

    /// Makes the mapping of `settings`, and checks its handlers.
    fn mapping_of(&self, settings: &Settings) -> Result<Mapping, WorkerError> {
        let mapping = Mapping::new(settings, &self.compiled)?;
        mapping.check(&self.states)?;
        Ok(mapping)
    }

    /// Makes the mapping at the start.
    pub(crate) fn mapping(&self) -> Result<Mapping, WorkerError> {
        self.mapping_of(&self.settings)
    }
}
