//! Another job mapping for a worker that runs: the settings file is read again on SIGHUP.
//!
//! Only `[jobs]` is taken from it. What else a settings file says holds from a worker's start to
//! its end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::error::WorkerError;
use crate::mapping::{Compiled, Mapping};
use crate::state::States;

/// What a mapping is made of, over and over.
pub(crate) struct Source {
    /// As the worker was started with.
    pub(crate) settings: Settings,
    pub(crate) compiled: Compiled,
    pub(crate) states: States,
}

impl Source {
    /// The mapping of the settings as they are.
    pub(crate) fn mapping(&self) -> Result<Mapping, WorkerError> {
        let mapping = Mapping::new(&self.settings, &self.compiled)?;
        mapping.check(&self.states)?;
        Ok(mapping)
    }

    /// Makes a new mapping at each signal, until dropped. Where that fails, the log says why and
    /// the one before stays. Signals that come while it loads are as one.
    pub(crate) async fn serve(
        mut self,
        mut hangups: Signal,
        mapping: watch::Sender<Arc<Mapping>>,
    ) -> Infallible {
        while hangups.recv().await.is_some() {
            let Some(file) = self.settings.file.clone() else {
                // The environment of a process does not change.
                tracing::warn!("SIGHUP: there is no settings file to read again");
                continue;
            };
            // Files and `PATH` are looked at: not on a thread that handlers need.
            let loading = spawn_blocking(move || {
                let loaded = self.load(&file);
                (self, loaded)
            });
            let Ok((source, loaded)) = loading.await else { break };
            self = source;
            match loaded {
                Ok(loaded) => {
                    tell_changes(&mapping.borrow(), &loaded);
                    mapping.send_replace(Arc::new(loaded));
                }
                Err(error) => {
                    let what = "the settings cannot be used; the jobs stay as they are";
                    tracing::error!(%error, "{what}");
                }
            }
        }
        // The runtime is shutting down, and this worker with it.
        std::future::pending().await
    }

    fn load(&mut self, file: &Path) -> Result<Mapping, WorkerError> {
        let jobs = Settings::load(Some(file))?.jobs;
        let before = std::mem::replace(&mut self.settings.jobs, jobs);
        let mapping = self.mapping();
        if mapping.is_err() {
            self.settings.jobs = before;
        }
        mapping
    }
}

fn tell_changes(before: &Mapping, after: &Mapping) {
    let names = |mapping: &Mapping| mapping.names().into_iter().collect::<BTreeSet<String>>();
    let (before, after) = (names(before), names(after));
    let new: Vec<&String> = after.difference(&before).collect();
    let gone: Vec<&String> = before.difference(&after).collect();
    tracing::info!(jobs = after.len(), ?new, ?gone, "the jobs were read again");
}
