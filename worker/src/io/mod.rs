//! Everything that talks to Redis, on one thread of its own.
//!
//! Handlers run elsewhere: whatever they do to their threads, requests are fetched, leases
//! renewed and answers settled here. Started and stopped in this order:
//!
//! 1. connection, then the first heartbeat: a worker is known before it takes anything;
//! 2. blocked pops and turns, until told to stop;
//! 3. on a stop: pops first (nothing new), then jobs (until the drain's end), then what they
//!    settled, then the release of whatever is left, then heartbeats: a draining worker is alive.

mod dispatcher;
mod hear;
mod heartbeat;
mod jobs;
pub(crate) mod launch;
mod pops;
mod queue;
mod schedules;
mod turn;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redcall_common::name::new_id;
use redcall_common::settings::Settings;
use redcall_common::store::keys::Keys;
use redcall_common::store::{Connector, Control, Link, WorkerKeys};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::WorkerError;
use crate::job::Shared;
use crate::mapping::Mapping;
use crate::state::States;
use crate::stop::Stop;
use dispatcher::Dispatcher;
use heartbeat::{Identity, Told};
use queue::Queue;
use schedules::Schedules;

/// How long an operation at Redis waits for a connection before it is tried again.
const WITHIN: Duration = Duration::from_secs(1);

/// Runs a worker to its end. Handlers run on the runtime that polls this future.
pub(crate) async fn run(
    settings: Settings,
    mappings: watch::Receiver<Arc<Mapping>>,
    states: States,
    stop: watch::Receiver<Stop>,
) -> Result<(), WorkerError> {
    let handlers = Handle::current();
    let (ended, end) = oneshot::channel();
    // Dropped with this future: the thread then gives its jobs back and ends.
    let (_watched, abandoned) = oneshot::channel::<()>();
    thread::Builder::new().name("redcall-io".into()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => {
                runtime.block_on(serve(settings, mappings, states, handlers, stop, abandoned))
            }
            Err(error) => Err(error.into()),
        };
        let _ = ended.send(result);
    })?;
    end.await.unwrap_or(Err(WorkerError::Ended))
}

async fn serve(
    settings: Settings,
    mut mappings: watch::Receiver<Arc<Mapping>>,
    states: States,
    handlers: Handle,
    stop: watch::Receiver<Stop>,
    abandoned: oneshot::Receiver<()>,
) -> Result<(), WorkerError> {
    let mapping = mappings.borrow_and_update().clone();
    let identity = Identity::new(&settings, &mapping);
    let connector = Connector::new(&settings.redis, &format!("redcall-worker-{}", identity.id))?;
    let link = Arc::new(Link::connect(connector.clone(), Arc::new(|_, _| {})).await?);
    let keys = Keys::new(&settings.redis.prefix);
    let names = settings.worker.queues.iter();
    let controls: Vec<String> = names.map(|name| keys.of(name).control()).collect();
    let (told, hearing) = mpsc::unbounded_channel();
    let (tell, channels) = (told.clone(), controls.clone());
    let sink = move |channel: &[u8], payload: &[u8]| {
        let queue = channels.iter().position(|name| name.as_bytes() == channel);
        if let (Some(queue), Some(control)) = (queue, Control::parse(payload)) {
            let _ = tell.send(Told::Control { queue, control });
        }
    };
    let beats = Arc::new(Link::connect(connector.clone(), Arc::new(sink)).await?);
    // Until the end: where the last workers drain, what they enqueue waits for the next ones.
    let _schedules = Schedules::spawn(&settings, &beats)?;
    for channel in &controls {
        beats.subscribe(channel, WITHIN).await?;
    }
    let (events, heard) = mpsc::unbounded_channel();
    let shared = Shared {
        link,
        states,
        limits: settings.limits,
        events,
        worker: identity.id.clone(),
        idempotency_ttl: settings.worker.idempotency_ttl,
    };
    let (popped, pops) = mpsc::unbounded_channel();
    let queues = settings.worker.queues.iter().enumerate().map(|(index, name)| {
        let dead = &settings.dead;
        let keys = WorkerKeys::new(keys.of(name), &identity.id, dead.max, dead.age);
        let keys = Arc::new(keys);
        let pop = pops::Pops::spawn(index, connector.clone(), keys.clone(), popped.clone());
        Queue::new(keys, pop)
    });
    let queues = queues.collect();
    let talk = dispatcher::Talk { told, hearing: Some(hearing), beats };
    let dispatcher = Dispatcher::new(settings, identity, mapping, shared, talk, handlers, queues);
    dispatcher.run(heard, pops, mappings, stop, abandoned).await
}

impl Identity {
    fn new(settings: &Settings, mapping: &Mapping) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: new_id(),
            name: settings.worker.name.clone().unwrap_or_else(|| host.clone()),
            host,
            started_at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            names: mapping.names(),
        }
    }
}
