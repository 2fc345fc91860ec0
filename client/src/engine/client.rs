//! The client: one per process, cheap to clone, a few connections for any number of calls.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redcall_common::auth::{Call, Keyring};
use redcall_common::durability::Durability;
use redcall_common::frame::Frame;
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::limits::Limits;
use redcall_common::name::{new_id, service_queue};
use redcall_common::settings::Settings;
use redcall_store::inspect::Inspector;
use redcall_store::{Connection, Connector, PushHandler, Session as _, SharedOps as _, StoreError};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::engine::deadline::left_until;
use crate::engine::deliveries::Deliveries;
use crate::engine::direct::{DirectPushes, DirectShared};
use crate::engine::durability::DurabilityWaiters;
use crate::engine::events::hub::Events;
use crate::engine::in_flight::InFlight;
use crate::engine::monitors::Monitors;
use crate::engine::replies::{self, BATCH_MAX, Reader, Wanted};
use crate::engine::results::ResultEvents;
use crate::engine::route::Route;
use crate::engine::sender::{Caps, Command, Sender};
use crate::engine::subscriptions::Subscriptions;
use crate::error::CallError;

/// Queue of requests whose job has no queue in the settings.
const DEFAULT_QUEUE: &str = "default";
/// Capacity of the channel to the sender, commands.
const COMMAND_CAPACITY: usize = 16_384;

/// Client for named jobs. Clones share connections; dropping the last clone closes them.
///
/// Its tasks run on the Tokio runtime on which it was created.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// let tasks = [1, 2, 3].map(|a| {
///     let client = client.clone();
///     tokio::spawn(async move { client.call_and_wait("echo", &a).await })
/// });
/// for task in tasks {
///     println!("{}", task.await??.data);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) id: String,
    /// Sends requests and receives announcements.
    pub(crate) link: Arc<Connection>,
    /// Reads response keys. It has no subscription: Redis disconnects a subscriber whose output
    /// buffer overflows, and large answers would fill that buffer.
    pub(crate) reads: Arc<Connection>,
    /// The pushes of callers that write by themselves.
    pub(crate) direct: DirectPushes,
    pub(crate) keys: Keys,
    pub(crate) in_flight: InFlight,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) wanted: mpsc::UnboundedSender<Wanted>,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Limits concurrent reads of response keys by fetches, and so the answers buffered in Redis.
    pub(crate) read_permits: Semaphore,
    pub(crate) limits: Limits,
    pub(crate) results: ResultEvents,
    pub(crate) caps: Arc<Caps>,
    pub(crate) durability_waiters: DurabilityWaiters,
    /// Durability level of requests that set none.
    pub(crate) durability: Durability,
    pub(crate) timeout: Duration,
    pub(crate) no_workers_grace: Duration,
    /// Signs requests; `None` if requests are not signed.
    pub(crate) keyring: Option<Keyring>,
    pub(crate) inspector: Inspector,
    pub(crate) events: Events,
    /// Queue of each job name, from the settings' mapping.
    routes: HashMap<String, String>,
    /// How long the status of each job is kept, from the settings' mapping.
    status_ttls: HashMap<String, Duration>,
    /// Monitors waiting for status changes.
    pub(crate) monitors: Arc<Monitors>,
    /// Written by the first call to a queue; read by every call.
    queues: Mutex<HashMap<String, Arc<Route>>>,
}

/// Returns the queue of each job and service that the settings define.
fn routes(settings: &Settings) -> HashMap<String, String> {
    let jobs = settings.jobs.iter();
    let jobs = jobs.filter_map(|(name, job)| Some((name.clone(), job.queue.clone()?)));
    let services = settings.services.keys().map(|name| (name.clone(), service_queue(name)));
    jobs.chain(services).collect()
}

/// Returns how long the settings keep the status of each job.
fn status_ttls(settings: &Settings) -> HashMap<String, Duration> {
    let jobs = settings.jobs.iter();
    jobs.filter_map(|(name, job)| Some((name.clone(), job.status?))).collect()
}

/// Returns the maximum length of each queue that sets one.
fn max_lengths(settings: &Settings) -> BTreeMap<String, u64> {
    let queues = settings.queues.iter();
    queues.filter_map(|(name, queue)| Some((name.clone(), queue.max_length?))).collect()
}

/// Returns the handler of messages, and spawns the task of its bounded deliveries.
fn message_handler(
    in_flight: &InFlight,
    wanted: &mpsc::UnboundedSender<Wanted>,
    monitors: &Arc<Monitors>,
    pushes: &Arc<DirectShared>,
) -> PushHandler {
    let (waiters, reread, monitors) = (in_flight.clone(), wanted.clone(), monitors.clone());
    let (missing, missed) = (in_flight.clone(), wanted.clone());
    let on_missed = move |ids| replies::request_reads(ids, &missing, &missed);
    let pushes = Some(pushes.clone());
    let (deliveries, later) = Deliveries::new(in_flight.clone(), pushes, on_missed);
    tokio::spawn(later.run());
    Arc::new(move |channel: &[u8], payload: &[u8]| match Keys::is_status(channel) {
        true => monitors.notify(channel),
        false => replies::on_announcement(payload, &waiters, &reread, &deliveries),
    })
}

impl Client {
    /// Connects to the Redis at `url` with default settings.
    ///
    /// ```
    /// use redcall_client::Client;
    ///
    /// # redcall_testkit::example::with_settings(async |settings| {
    /// # let url = &settings.redis.url;
    /// let client = Client::connect(url).await?; // such as redis://127.0.0.1:6379
    /// assert_eq!(client.call_and_wait("echo", "hello").await?.json::<String>()?, "hello");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL is invalid, Redis cannot be reached, or it lacks a feature that the settings
    /// require ([`StoreError::Unsupported`]). The client reconnects by itself after later
    /// connection losses.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let mut settings = Settings::default();
        url.clone_into(&mut settings.redis.url);
        Self::from_settings(&settings).await
    }

    /// Connects with the sections `redis`, `client`, `limits`, `auth`, `queues`, `events`,
    /// `jobs` and `services` (for their queues) of `settings`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use redcall_client::{Client, Settings};
    ///
    /// # redcall_testkit::example::with_settings(async |given| {
    /// let mut settings = Settings::load(None)?; // from `redcall.toml` and the environment
    /// settings.client.timeout = Duration::from_secs(10);
    /// # settings.redis = given.redis;
    /// let client = Client::from_settings(&settings).await?;
    /// # drop(client);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn from_settings(settings: &Settings) -> Result<Self, StoreError> {
        let id = new_id();
        let connector = Connector::new(&settings.redis, &format!("redcall-client-{id}"))?;
        let keys = Keys::new(&settings.redis.prefix);
        let inspector = Inspector::new(&connector, keys.clone());
        let (in_flight, withdrawn) = InFlight::new();
        let (wanted, wanted_receiver) = mpsc::unbounded_channel();
        let (pushed, pushed_receiver) = mpsc::unbounded_channel();
        let monitors = Arc::<Monitors>::default();
        let pushes = Arc::new(DirectShared::new(in_flight.clone(), pushed));
        let sink = message_handler(&in_flight, &wanted, &monitors, &pushes);
        let (link, reads) = tokio::try_join!(
            Connection::connect(connector.clone(), sink),
            Connection::connect(connector.clone(), Arc::new(|_: &[u8], _: &[u8]| ())),
        )?;
        let (link, reads) = (Arc::new(link), Arc::new(reads));
        let events = Events::new(settings, &connector, &link);
        let durability_waiters = DurabilityWaiters::new(connector.clone());
        let deadline = Instant::now() + settings.redis.response_timeout;
        durability_waiters.prepare(&link, settings.redis.durability, deadline).await?;
        let (commands, command_receiver) = mpsc::channel(COMMAND_CAPACITY);
        let caps = Caps { max: settings.limits.max_length, by_queue: max_lengths(settings) };
        let caps = Arc::new(caps);
        let results = ResultEvents::new(&keys, events.kept(), &settings.limits);
        let direct = DirectPushes::new(pushes.clone(), connector, commands.clone());
        let sender = Sender {
            link: link.clone(),
            reads: reads.clone(),
            in_flight: in_flight.clone(),
            caps: caps.clone(),
            results: results.clone(),
            commands: command_receiver,
            withdrawn,
            pushed: pushed_receiver,
            direct: pushes,
            unwritten: Vec::new(),
        };
        tokio::spawn(sender.run());
        let (calls, from) = (Arc::downgrade(&link), Arc::downgrade(&reads));
        tokio::spawn(Reader::new(calls, from, in_flight.clone(), wanted_receiver).run());
        let subscriptions = Subscriptions::new(link.clone(), settings.redis.response_timeout);
        Ok(Self {
            inner: Arc::new(Inner {
                id,
                link,
                reads,
                direct,
                keys,
                in_flight,
                commands,
                wanted,
                subscriptions: Arc::new(subscriptions),
                read_permits: Semaphore::new(BATCH_MAX),
                limits: settings.limits,
                caps,
                durability_waiters,
                durability: settings.redis.durability,
                timeout: settings.client.timeout,
                no_workers_grace: settings.client.no_workers_grace,
                keyring: settings.auth.as_ref().map(Keyring::new),
                inspector,
                events,
                results,
                routes: routes(settings),
                status_ttls: status_ttls(settings),
                monitors,
                queues: Mutex::default(),
            }),
        })
    }

    /// Writes pending commands, such as cancellations of abandoned calls and deletions of answers
    /// that were read. Returns within 500 ms. Call it before a program exits right after a call: a
    /// job whose cancellation is not written still runs, and an answer that is not deleted expires
    /// by its TTL.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// let answer = client.call_and_wait("echo", "hello").await?;
    /// println!("{}", answer.data);
    /// client.flush().await; // the program exits right after this
    /// # Ok(()) });
    /// ```
    pub async fn flush(&self) {
        const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
        let (done, flushed) = oneshot::channel();
        self.inner.direct.flush();
        let flushing = async {
            if self.inner.commands.send(Command::Flush(done)).await.is_ok() {
                let _ = flushed.await;
            }
        };
        let _ = timeout(FLUSH_TIMEOUT, flushing).await;
    }
}

impl Inner {
    /// Returns the queue for `name` if its request sets none.
    pub(crate) fn queue_of(&self, name: &str) -> &str {
        self.routes.get(name).map_or(DEFAULT_QUEUE, String::as_str)
    }

    /// Returns how long the settings keep the status of `name`.
    pub(crate) fn status_ttl_of(&self, name: &str) -> Option<Duration> {
        self.status_ttls.get(name).copied()
    }

    /// Returns the frame if its signature is valid, else the error that ends the call.
    pub(crate) fn trusted(
        &self,
        frame: Frame,
        response_key: &str,
        call: Call<'_>,
    ) -> Result<Frame, CallError> {
        let judged = self.keyring.as_ref().map(|it| it.judge(&frame, response_key, call));
        match judged {
            Some(Err(why)) => Err(CallError::not_trusted(&why, frame.error.map(|error| *error))),
            Some(Ok(())) | None => Ok(frame),
        }
    }

    /// Queues the deletion of a response key whose answer was read. If that fails, the key expires
    /// by its TTL.
    pub(crate) fn forget(&self, keys: &Arc<QueueKeys>, key: &str, answer: &Frame) {
        let bytes = answer.data.as_ref().map_or(0, |data| data.get().len());
        self.direct.forget(keys, key, bytes);
    }

    pub(crate) fn route(&self, queue: &str) -> Arc<Route> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = queues.get(queue) {
            return route.clone();
        }
        let keys = self.keys.of(queue);
        let notify = keys.notify(&self.id);
        let route = Arc::new(Route::new(keys, notify, self.caps.of(queue)));
        queues.insert(queue.to_owned(), route.clone());
        route
    }

    /// Registers the queue and, if the caller `waits`, subscribes to its announcements, before the
    /// first request is sent. Returns by `deadline` even if another task is already doing so.
    pub(crate) async fn prepare(
        &self,
        route: &Route,
        waits: bool,
        deadline: Instant,
    ) -> Result<(), NotReady> {
        let preparing = async {
            if waits {
                let subscribe = || self.link.subscribe(&route.notify, left_until(deadline));
                route.subscribed.get_or_try_init(subscribe).await?;
            }
            let queues = [route.keys.name()];
            let note = || self.link.note_queues(&self.keys, &queues, left_until(deadline));
            route.announced.get_or_try_init(note).await
        };
        match timeout_at(deadline, preparing).await {
            Ok(done) => done.map(drop).map_err(|error| NotReady(Some(error))),
            Err(_) => Err(NotReady(None)),
        }
    }
}

/// Why no request could be sent yet; `None` if the time ran out.
#[derive(Clone)]
pub(crate) struct NotReady(Option<StoreError>);

impl From<StoreError> for NotReady {
    fn from(reason: StoreError) -> Self {
        Self(Some(reason))
    }
}

impl From<NotReady> for CallError {
    fn from(NotReady(reason): NotReady) -> Self {
        match reason {
            // A connection that broke before any request was sent does not affect a request.
            Some(error) if !error.may_have_happened() => error.into(),
            _ => Self::not_sent(),
        }
    }
}
