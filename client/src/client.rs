//! The client: one per process, cheap to clone, a few connections for any number of calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redcall_common::limits::Limits;
use redcall_common::name::new_id;
use redcall_common::settings::Settings;
use redcall_common::store::inspect::Inspector;
use redcall_common::store::keys::{Keys, QueueKeys};
use redcall_common::store::{Connector, Link, StoreError};
use serde::Serialize;
use tokio::sync::{OnceCell, mpsc};

use crate::error::CallError;
use crate::pending::Pending;
use crate::replies;
use crate::request::Request;
use crate::response::{Receipt, Response};
use crate::sender::{Command, Sender};

/// The queue of requests that name none.
const DEFAULT_QUEUE: &str = "default";
/// How many commands callers may hand in ahead of the writer.
const AHEAD: usize = 16_384;

/// Calls named jobs. Clones share connections; the last one to go closes them.
///
/// Its tasks run on the Tokio runtime in which it was made.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) id: String,
    pub(crate) link: Arc<Link>,
    pub(crate) keys: Keys,
    pub(crate) pending: Pending,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) limits: Limits,
    pub(crate) timeout: Duration,
    pub(crate) no_workers_grace: Duration,
    pub(crate) inspector: Inspector,
    /// Where each job name is sent, from the settings' mapping.
    routes: HashMap<String, String>,
    /// Written by the first call to a queue; read by every call.
    queues: Mutex<HashMap<String, Arc<Route>>>,
}

/// A queue that this client has used.
pub(crate) struct Route {
    pub(crate) keys: Arc<QueueKeys>,
    /// The channel on which this client hears of answers.
    pub(crate) notify: String,
    subscribed: OnceCell<()>,
    announced: OnceCell<()>,
}

impl Client {
    /// Connects to the Redis at `url` with default settings.
    ///
    /// # Errors
    ///
    /// When the URL cannot be used or Redis cannot be reached. Later losses of the connection
    /// are made good by the client itself.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let mut settings = Settings::default();
        url.clone_into(&mut settings.redis.url);
        Self::from_settings(&settings).await
    }

    /// Connects with the sections `redis`, `client`, `limits` and `jobs` (for the queues) of
    /// `settings`.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub async fn from_settings(settings: &Settings) -> Result<Self, StoreError> {
        let id = new_id();
        let connector = Connector::new(&settings.redis, &format!("redcall-client-{id}"))?;
        let keys = Keys::new(&settings.redis.prefix);
        let inspector = Inspector::new(&connector, keys.clone())?;
        let pending = Pending::default();
        let (reread, wanted) = mpsc::unbounded_channel();
        let heard = pending.clone();
        let sink = move |payload: &[u8]| replies::announced(payload, &heard, &reread);
        let link = Arc::new(Link::connect(connector, Arc::new(sink)).await?);
        let (commands, handed_in) = mpsc::channel(AHEAD);
        let sender = Sender {
            link: link.clone(),
            pending: pending.clone(),
            max_length: settings.limits.max_length,
            commands: handed_in,
        };
        tokio::spawn(sender.run());
        tokio::spawn(replies::read_keys(Arc::downgrade(&link), pending.clone(), wanted));
        let routes = settings.jobs.iter();
        let routes = routes.filter_map(|(name, job)| Some((name.clone(), job.queue.clone()?)));
        Ok(Self {
            inner: Arc::new(Inner {
                id,
                link,
                keys,
                pending,
                commands,
                limits: settings.limits,
                timeout: settings.client.timeout,
                no_workers_grace: settings.client.no_workers_grace,
                inspector,
                routes: routes.collect(),
                queues: Mutex::default(),
            }),
        })
    }

    /// Queues job `name` and lets go.
    ///
    /// # Errors
    ///
    /// [`CallError::may_be_queued`] says whether it may run nevertheless. Dropping the future
    /// leaves the same doubt.
    pub async fn call<T: Serialize + ?Sized>(
        &self,
        name: &str,
        data: &T,
    ) -> Result<Receipt, CallError> {
        self.request(name).data(data).send().await
    }

    /// Queues job `name` and waits for its answer, at most for the setting `client.timeout`.
    ///
    /// # Errors
    ///
    /// The job's error, or why there is none: [`CallError::code`]. Dropping the future gives the
    /// answer up, not the job.
    pub async fn call_and_wait<T: Serialize + ?Sized>(
        &self,
        name: &str,
        data: &T,
    ) -> Result<Response, CallError> {
        self.request(name).data(data).wait().await
    }

    /// A request with more to say than name and data.
    pub fn request(&self, name: &str) -> Request {
        Request::new(self.clone(), name)
    }

    /// Looks at queues and workers.
    #[must_use]
    pub fn inspect(&self) -> &Inspector {
        &self.inner.inspector
    }
}

impl Inner {
    /// The queue that `name` goes to when its request names none.
    pub(crate) fn queue_of(&self, name: &str) -> &str {
        self.routes.get(name).map_or(DEFAULT_QUEUE, String::as_str)
    }

    pub(crate) fn route(&self, queue: &str) -> Arc<Route> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = queues.get(queue) {
            return route.clone();
        }
        let keys = self.keys.of(queue);
        let notify = keys.notify(&self.id);
        let route = Route {
            keys: Arc::new(keys),
            notify,
            subscribed: OnceCell::new(),
            announced: OnceCell::new(),
        };
        let route = Arc::new(route);
        queues.insert(queue.to_owned(), route.clone());
        route
    }

    /// Makes sure that answers of this queue are heard, before the first request goes out.
    pub(crate) async fn subscribe(&self, route: &Route, within: Duration) -> Result<(), CallError> {
        let subscribing =
            route.subscribed.get_or_try_init(|| self.link.subscribe(&route.notify, within));
        subscribing.await.map_err(before_sending)?;
        self.announce_queue(route, within).await
    }

    /// Makes sure that people find the queue, before the first request goes out.
    pub(crate) async fn announce_queue(
        &self,
        route: &Route,
        within: Duration,
    ) -> Result<(), CallError> {
        let queues = [route.keys.name()];
        let announcing =
            route.announced.get_or_try_init(|| self.link.note_queues(&self.keys, &queues, within));
        announcing.await.map(drop).map_err(before_sending)
    }
}

/// A connection lost before any request was sent says nothing about one.
fn before_sending(error: StoreError) -> CallError {
    match error {
        StoreError::Lost(_) => CallError::not_sent(),
        other => other.into(),
    }
}
