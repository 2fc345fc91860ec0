//! The loop that takes jobs from rq: as many as there is room for, most urgent first.
//!
//! | task | does |
//! |---|---|
//! | the loop | takes jobs, and runs each in a task |
//! | one per queue | waits until its queue has jobs |
//! | one for the lease | renews it, and finds inboxes of ended gateways |
//!
//! Urgency is kept by the loop alone: the other tasks only wake it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redcall_common::settings::RqSettings;
use redcall_store::Connector;
use redcall_store::StoreError;
use redcall_store::rq::{QueueSignal, RqFound, RqInbox, RqKeys, TakenJob};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::run::{self, Context, READERS};
use crate::door::Door;
use crate::error::DoorError;

/// The lease of a gateway's inbox. Short: a gateway that only stalled loses nothing but time, since
/// each job is answered once.
const LEASE: Duration = Duration::from_secs(5);
/// The period of its renewal.
const BEAT: Duration = Duration::from_millis(1500);
/// The longest wait for jobs at Redis.
const BLOCK: Duration = Duration::from_secs(5);
/// The time limit for a connection to Redis.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The pause after an error.
const PAUSE: Duration = Duration::from_millis(500);

/// The state that the tasks of the loop share.
struct Shared {
    door: Arc<Door>,
    inbox: Arc<RqInbox>,
    /// Notified when there may be jobs. Read by the loop.
    wake: Notify,
    /// Changes with each take, after which a queue that had jobs is waited for again.
    takes: watch::Sender<u64>,
    /// Ended gateways whose inboxes hold jobs. Written by the lease's task.
    ended: watch::Sender<Vec<String>>,
    /// `true` if jobs that are sent later may be tried again. Set by the lease's task, whose period
    /// is the pause between attempts, and by the loop after a success; cleared by the loop.
    may_send_later: AtomicBool,
}

/// The jobs that run. Each task returns `false` if its job is to be sent later.
#[derive(Default)]
struct Running {
    jobs: JoinSet<bool>,
    /// Those of the jobs that are sent later.
    later: JoinSet<bool>,
}

impl Running {
    fn len(&self) -> usize {
        self.jobs.len() + self.later.len()
    }

    /// Waits for the end of one. Cancel safe.
    async fn next(&mut self, shared: &Shared) {
        tokio::select! {
            Some(ended) = self.jobs.join_next() => shared.note(ended, false),
            Some(ended) = self.later.join_next() => shared.note(ended, true),
            else => {}
        }
    }

    /// Removes those that have ended.
    fn reap(&mut self, shared: &Shared) {
        while let Some(ended) = self.jobs.try_join_next() {
            shared.note(ended, false);
        }
        while let Some(ended) = self.later.try_join_next() {
            shared.note(ended, true);
        }
    }
}

impl Shared {
    /// Returns the jobs that were taken; `None` after an error and a pause.
    async fn taken(&self, taken: Result<Vec<TakenJob>, StoreError>) -> Option<Vec<TakenJob>> {
        match taken {
            Ok(taken) => Some(taken),
            Err(error) => {
                // If the script failed at one job, those before it are in the inbox.
                if error.may_have_happened() || error.is_refused() {
                    self.inbox.replace();
                }
                report(&self.door, &error, "taking jobs from rq failed");
                sleep(PAUSE).await;
                None
            }
        }
    }

    /// Notes the end of a job; `was_later` if it was to be sent later.
    fn note(&self, ended: Result<bool, tokio::task::JoinError>, was_later: bool) {
        match ended {
            // Redcall accepts calls again: the next ones need not wait for the pause.
            Ok(true) if was_later => self.may_send_later.store(true, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => {
                self.door.panicked();
                // In a live inbox, no gateway would take its job over.
                self.inbox.replace();
            }
        }
    }
}

/// Takes and runs jobs until the door drains, and those that were taken have ended.
pub(super) async fn run(
    door: &Arc<Door>,
    settings: &Arc<RqSettings>,
    connector: &Connector,
) -> Result<(), DoorError> {
    let keys = RqKeys::new(&door.all_settings().redis.prefix, door.name());
    let attempt = || RqInbox::open(connector.clone(), keys.clone(), LEASE);
    let Some(inbox) = super::open(door, attempt).await? else { return Ok(()) };
    let inbox = Arc::new(inbox);
    let shared = Arc::new(Shared {
        door: door.clone(),
        inbox: inbox.clone(),
        wake: Notify::new(),
        takes: watch::Sender::new(0),
        ended: watch::Sender::new(Vec::new()),
        may_send_later: AtomicBool::new(false),
    });
    // Aborted when this function returns or is dropped.
    let mut background = JoinSet::new();
    background.spawn(keep_lease(shared.clone()));
    for queue in &settings.take {
        background.spawn(watch_queue(shared.clone(), inbox.signal(queue), queue.clone()));
    }
    let context = Arc::new(Context {
        door: door.clone(),
        settings: settings.clone(),
        inbox: inbox.clone(),
        peer: connector.address().to_owned(),
        readers: Semaphore::new(READERS),
        sending: Semaphore::new(half(door.settings().outward.concurrency)),
    });
    let mut running = Running::default();
    tokio::select! {
        () = take(&shared, &context, &mut running) => {}
        // They have no end but a panic. Without them no job is found, and no lease renewed.
        Some(_) = background.join_next() => return Err(DoorError::Panicked),
    }
    while running.len() > 0 {
        running.next(&shared).await;
    }
    // Before the lease ends: none of them may renew it.
    background.shutdown().await;
    if let Err(error) = inbox.leave(TIMEOUT).await {
        tracing::debug!(gateway = door.name(), %error, "the lease at rq's Redis ends by time");
    }
    Ok(())
}

/// Takes jobs until the door drains.
async fn take(shared: &Shared, context: &Arc<Context>, running: &mut Running) {
    let door = &shared.door;
    let (queues, message) = (&context.settings.take, door.settings().message);
    let concurrency = door.settings().outward.concurrency;
    let mut may_have_jobs = true;
    while !door.is_draining() {
        running.reap(shared);
        let room = concurrency - running.len();
        if room > 0 && may_have_jobs {
            let ended = shared.ended.borrow().clone();
            let taking = shared.inbox.take(&ended, queues, room, message, TIMEOUT);
            if let Some(taken) = shared.taken(taking.await).await {
                // The bound on bytes may have ended it before the queues were empty.
                may_have_jobs = !taken.is_empty();
                for job in taken {
                    running.jobs.spawn(run::run(context.clone(), job));
                }
            }
            shared.takes.send_modify(|count| *count += 1);
            continue;
        }
        let room = room.min(half(concurrency) - running.later.len());
        if room > 0 && shared.may_send_later.swap(false, Ordering::Relaxed) {
            let taking = shared.inbox.take_later(room, message, TIMEOUT);
            for job in shared.taken(taking.await).await.unwrap_or_default() {
                running.later.spawn(run::run(context.clone(), job));
            }
            continue;
        }
        tokio::select! {
            () = door.draining() => {}
            () = shared.wake.notified() => may_have_jobs = true,
            () = running.next(shared), if running.len() > 0 => {}
        }
    }
}

/// Wakes the loop when a queue has jobs.
async fn watch_queue(shared: Arc<Shared>, mut signal: QueueSignal, queue: String) {
    loop {
        let mut takes = shared.takes.subscribe();
        match signal.wait(BLOCK).await {
            Ok(true) => {
                shared.wake.notify_one();
                // The sender lives as long as this task.
                let _ = takes.changed().await;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(gateway = shared.door.name(), queue, %error, "a wait failed");
                // One queue of another type must not stop the others, nor fill the log.
                if !error.is_transient() {
                    report(&shared.door, &error, "waiting for jobs of an rq queue failed");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Renews the lease, and finds jobs of ended gateways.
async fn keep_lease(shared: Arc<Shared>) {
    let mut beats = interval(BEAT);
    loop {
        beats.tick().await;
        match shared.inbox.beat(TIMEOUT).await {
            Ok(RqFound { ended, has_later }) => {
                if !ended.is_empty() {
                    tracing::info!(
                        gateway = shared.door.name(),
                        inboxes = ended.len(),
                        "taking over the jobs of ended gateways"
                    );
                }
                if has_later {
                    shared.may_send_later.store(true, Ordering::Relaxed);
                }
                if has_later || !ended.is_empty() {
                    shared.wake.notify_one();
                }
                shared.ended.send_replace(ended);
            }
            Err(error) => report(&shared.door, &error, "renewing the lease at rq's Redis failed"),
        }
    }
}

fn report(door: &Door, error: &StoreError, what: &'static str) {
    let gateway = door.name();
    match error.is_transient() {
        true => tracing::debug!(gateway, %error, "{what}"),
        false => tracing::warn!(gateway, %error, "{what}"),
    }
}

/// Returns the part of the room that calls without an answer may fill while Redcall does not accept
/// them.
fn half(concurrency: usize) -> usize {
    (concurrency / 2).max(1)
}
