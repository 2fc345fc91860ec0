//! The I/O thread: all communication with Redis.
//!
//! Handlers run on other threads: even if they block those, requests are leased, leases renewed and
//! answers settled here. Order of start and stop:
//!
//! 1. connection, then the first heartbeat: a worker is registered before it leases anything;
//! 2. blocked pops and polls, until a stop is requested;
//! 3. on a stop: pops (no new requests), then jobs (until the drain's end), then their outcomes,
//!    then the release of the other leases, then heartbeats: a draining worker is alive;
//!    then probes and metrics, which started before the connection.

use std::sync::Arc;
use std::thread;

use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::settings::Settings;
use redcall_store::{Connection, Connector, Session as _, TopicRetention, WorkerKeys};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{self, AdminState};
use crate::background::pops::Pops;
use crate::background::reload::Reloaded;
use crate::background::schedules::Schedules;
use crate::background::{heartbeat_events, safety, tally};
use crate::dispatcher::{Dispatcher, Inputs, Notices, Queue, Rights, Setup};
use crate::error::WorkerError;
use crate::handler::compiled::state::StateMap;
use crate::identity::Identity;
use crate::lane::{self, Lane, Priority};
use crate::mapping::Mapping;
use crate::metrics::Metrics;
use crate::readiness::pulse::Pulse;
use crate::readiness::report::Report;
use crate::readiness::{Readiness, ReadinessHandle};
use crate::run::capacity::Capacity;
use crate::run::job::{self, Shared};
use crate::stop::{Stop, StopRequests};
use crate::time::REDIS_TIMEOUT;

/// Most readiness checks that wait at once.
const MAX_CHECKS: usize = 64;

/// Control input of a worker: stop, reloads, readiness checks.
struct Control {
    stop: StopRequests,
    reloads: mpsc::Receiver<Reloaded>,
    checks: mpsc::Receiver<oneshot::Sender<Report>>,
    /// Records the loop's progress for `/live`.
    pulse: Arc<Pulse>,
}

/// Runs a worker to its end. Handlers run on the runtime that polls this future.
pub(crate) async fn run(
    settings: Settings,
    mapping: Mapping,
    states: StateMap,
    stop: watch::Receiver<Stop>,
    reloads: mpsc::Receiver<Reloaded>,
    readiness: &Readiness,
) -> Result<(), WorkerError> {
    let handlers = Handle::current();
    let metrics = Arc::new(Metrics::new());
    let (pulse, (check_sender, checks)) =
        (Arc::new(Pulse::new(&settings)), mpsc::channel(MAX_CHECKS));
    let readiness_handle = ReadinessHandle { checks: check_sender, pulse: pulse.clone() };
    readiness.set(readiness_handle.clone());
    let admin_state = AdminState { readiness: readiness_handle, metrics: metrics.clone() };
    let admin = admin::start(&settings, admin_state)?;
    let (ended, end) = oneshot::channel();
    // Dropped with this future: the thread then returns its jobs and ends.
    let (_watched, abandoned) = oneshot::channel::<()>();
    thread::Builder::new().name("redcall-io".into()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => {
                let stop = StopRequests { levels: stop, abandoned };
                let control = Control { stop, reloads, checks, pulse };
                runtime.block_on(serve(settings, mapping, states, handlers, metrics, control))
            }
            Err(error) => Err(error.into()),
        };
        // Last: a draining worker still serves probes.
        drop(admin);
        let _ = ended.send(result);
    })?;
    end.await.unwrap_or(Err(WorkerError::IoThreadEnded))
}

async fn serve(
    settings: Settings,
    mapping: Mapping,
    states: StateMap,
    handlers: Handle,
    metrics: Arc<Metrics>,
    control: Control,
) -> Result<(), WorkerError> {
    let identity = Identity::new(&settings, &mapping);
    let connector = Connector::new(&settings.redis, &format!("redcall-worker-{}", identity.id))?;
    let link = Arc::new(Connection::connect(connector.clone(), Arc::new(|_, _| {})).await?);
    let keys = Keys::new(&settings.redis.prefix);
    let names = settings.served_queues();
    // A worker without a needed right would lease requests that it cannot settle.
    let mut rights = Rights::new(keys.clone(), names.clone());
    rights.require(&link).await?;
    let controls: Vec<String> = names.iter().map(|name| keys.of(name).control()).collect();
    let (events, event_receiver) = mpsc::unbounded_channel();
    let notices = Arc::new(Notices::new(controls.clone()));
    let receiving = notices.clone();
    let sink = move |channel: &[u8], message: &[u8]| receiving.receive(channel, message);
    let heartbeat_conn = Arc::new(Connection::connect(connector.clone(), Arc::new(sink)).await?);
    let schedules = Schedules::spawn(&settings, &mapping, &heartbeat_conn)?;
    for channel in &controls {
        heartbeat_conn.subscribe(channel, REDIS_TIMEOUT).await?;
    }
    safety::warn(&heartbeat_conn, &settings.redis);
    let _heartbeat_events = heartbeat_events::spawn(&settings, &identity, &heartbeat_conn);
    let _tally = tally::spawn(&settings, &heartbeat_conn);
    let (job_events, job_receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(shared(link, states, &settings, &identity, job_events));
    let (popped, pop_receiver) = mpsc::unbounded_channel();
    let (lane_events, lane_receiver) = mpsc::unbounded_channel();
    let capacity = Arc::new(Capacity::new(settings.worker.concurrency));
    let parts = lane::Parts {
        lease: settings.worker.lease,
        job: shared.clone(),
        capacity: capacity.clone(),
        priority: Arc::new(Priority::new(names.len())),
        metrics: metrics.clone(),
        events: lane_events,
    };
    let queues = names.iter().enumerate().map(|(index, name)| {
        let keys = Arc::new(worker_keys(keys.of(name), &identity.id, &settings));
        let pops = Pops::spawn(index, connector.clone(), keys.clone(), popped.clone());
        let lane = Lane::spawn((index, keys.clone()), parts.clone(), connector.clone(), &handlers);
        let mut queue = Queue::new(index, keys, pops, lane, parts.priority.clone());
        queue.adopt_mapping(&mapping);
        queue
    });
    let queues: Vec<Queue> = queues.collect();
    let setup = Setup {
        keys,
        identity,
        mapping: Arc::new(mapping),
        shared,
        metrics,
        capacity,
        handlers,
        lease: settings.worker.lease,
        heartbeat_conn,
        events,
        schedules,
    };
    let Control { stop, reloads, checks, pulse } = control;
    let owners = (rights, notices);
    let dispatcher = Dispatcher::register(&settings.worker, setup, queues, owners, stop).await?;
    let inputs = Inputs {
        jobs: job_receiver,
        pops: pop_receiver,
        lanes: lane_receiver,
        events: event_receiver,
        reloads,
        checks,
    };
    dispatcher.run(inputs, &pulse).await;
    Ok(())
}

/// Returns the keys of a worker on a queue, with the bounds of its settings.
fn worker_keys(queue: QueueKeys, id: &str, settings: &Settings) -> WorkerKeys {
    let dead = &settings.dead;
    WorkerKeys::new(queue, id, dead.max, dead.age)
        .with_max_request(settings.limits.request)
        .with_dead_bytes(dead.max_bytes)
}

/// Returns the state that all jobs share.
fn shared(
    link: Arc<Connection>,
    states: StateMap,
    settings: &Settings,
    identity: &Identity,
    events: mpsc::UnboundedSender<job::Event>,
) -> Shared {
    Shared {
        link,
        states,
        limits: settings.limits,
        events,
        worker: identity.id.clone(),
        idempotency_ttl: settings.worker.idempotency_ttl,
        kept: TopicRetention::from(&settings.events),
    }
}
