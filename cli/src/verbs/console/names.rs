//! Names for completion: from the settings, live workers, and the session.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redcall_client::{Client, Kind, Settings, WorkerInfo};
use redcall_common::name::{SERVICE, is_job_name, is_plain};

/// Maximum number of ids remembered: the latest ones.
const IDS: usize = 100;
/// Maximum number of names remembered of each kind.
const NAMES_MAX: usize = 10_000;

/// Event kinds with names, which are also topics.
const KINDS: [Kind; 5] =
    [Kind::HEARTBEAT, Kind::EMERGENCY, Kind::EVENT, Kind::PROPERTY_CHANGE, Kind::COMMAND_RESULT];

/// Shared by the session, which adds names, and the line editor, which offers them.
#[derive(Clone)]
pub(super) struct Names(Arc<Mutex<Known>>);

/// The known names, by kind.
#[derive(Default)]
pub(super) struct Known {
    /// From the settings and the live workers of the last refresh.
    pub(super) jobs: BTreeSet<String>,
    pub(super) services: BTreeSet<String>,
    pub(super) topics: BTreeSet<String>,
    pub(super) instances: BTreeSet<String>,
    pub(super) ids: VecDeque<String>,
    mapped: Mapped,
}

/// Names from the settings, kept whichever workers are alive.
#[derive(Default)]
struct Mapped {
    jobs: BTreeSet<String>,
    services: BTreeSet<String>,
}

impl Names {
    /// Returns the names from the settings.
    pub(super) fn of(settings: &Settings) -> Self {
        let mapped = Mapped {
            jobs: settings.jobs.keys().cloned().collect(),
            services: settings.services.keys().cloned().collect(),
        };
        let known = Known {
            jobs: mapped.jobs.clone(),
            services: mapped.services.clone(),
            topics: kinds().collect(),
            mapped,
            ..Known::default()
        };
        Self(Arc::new(Mutex::new(known)))
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the names that live workers handle. On failure, the names are unchanged.
    pub(super) async fn refresh(&self, client: &Client) {
        if let Ok(workers) = client.inspect().workers().await {
            self.known().set_live(&workers);
        }
    }

    pub(super) fn topic(&self, topic: &str) {
        add(&mut self.known().topics, topic);
    }

    pub(super) fn instance(&self, instance: &str) {
        add(&mut self.known().instances, instance);
    }

    pub(super) fn id(&self, id: &str) {
        let ids = &mut self.known().ids;
        ids.push_back(id.to_owned());
        if ids.len() > IDS {
            ids.pop_front();
        }
    }
}

impl Known {
    /// Replaces the names of workers, keeping those of the settings. Worker records are untrusted:
    /// only valid names are taken.
    fn set_live(&mut self, workers: &[WorkerInfo]) {
        let queues = workers.iter().flat_map(|worker| &worker.queues);
        let services = queues.filter_map(|queue| queue.strip_prefix(SERVICE));
        let services: BTreeSet<&str> =
            services.filter(|name| is_plain(name)).take(NAMES_MAX).collect();
        let jobs = workers.iter().flat_map(|worker| &worker.jobs).map(String::as_str);
        let jobs =
            jobs.filter(|name| is_job_name(name) && !services.contains(name)).take(NAMES_MAX);
        self.jobs = jobs.map(str::to_owned).chain(self.mapped.jobs.clone()).collect();
        let services = services.into_iter().map(str::to_owned);
        self.services = services.chain(self.mapped.services.clone()).collect();
    }
}

fn add(names: &mut BTreeSet<String>, name: &str) {
    if !name.is_empty() && names.len() < NAMES_MAX {
        names.insert(name.to_owned());
    }
}

/// Returns the names of event kinds.
pub(super) fn kinds() -> impl Iterator<Item = String> {
    KINDS.into_iter().filter_map(|kind| kind.name().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(jobs: &[&str], queues: &[&str]) -> WorkerInfo {
        let json = serde_json::json!({
            "id": "1", "name": "w", "host": "h", "pid": 1, "version": "1", "started_at": 0,
            "state": "running", "queues": queues, "jobs": jobs, "concurrency": 1, "running": 0,
            "overdue": [], "lease_ms": 1,
        });
        serde_json::from_value(json).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn names_of_live_workers_are_added_and_removed() {
        let names = Names::of(&Settings::default());
        let mut known = names.known();
        let queues = ["default", "service:counter"];
        known.set_live(&[worker(&["add", "counter", "\u{1b}[31m"], &queues)]);
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!((&*list(&known.jobs), &*list(&known.services)), ("add", "counter"));
        known.set_live(&[]);
        assert_eq!((known.jobs.len(), known.services.len()), (0, 0));
    }

    #[test]
    fn latest_ids_are_remembered() {
        let names = Names::of(&Settings::default());
        (0..=IDS).for_each(|id| names.id(&id.to_string()));
        let known = names.known();
        assert_eq!((known.ids.len(), known.ids.front().map(String::as_str)), (IDS, Some("1")));
    }
}
