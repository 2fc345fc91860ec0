//! The life of a connection: connecting, its clock, its subscriptions.

use std::time::Duration;

use super::waits::{RequestPop, TopicWatch};
use crate::connection::PushHandler;
use crate::error::StoreError;

/// A connection to the broker that outlives failures: it reconnects by itself.
pub trait Session: Sized + Send + Sync + 'static {
    /// Opens connections. Cheap to clone.
    type Opener: Clone + Send + Sync + 'static;
    /// The identity of one connection, and its server.
    type Id: Clone + PartialEq + Send + Sync + 'static;
    /// Names a blocking wait, so that another task can end it.
    type Unblocker: Clone + Send + Sync + 'static;
    /// Waits for requests.
    type Pop: RequestPop<Opener = Self::Opener, Unblocker = Self::Unblocker>;
    /// Waits for events.
    type Watch: TopicWatch<Opener = Self::Opener, Unblocker = Self::Unblocker>;

    /// Connects, and stays connected. Each message on a subscribed channel goes to `handler`.
    ///
    /// # Errors
    ///
    /// The error of the first attempt; later ones are retried without limit.
    fn connect(
        opener: Self::Opener,
        handler: PushHandler,
    ) -> impl Future<Output = Result<Self, StoreError>> + Send;

    /// Returns Redis time, ms since the epoch, as last measured. Independent of local clock steps.
    #[must_use]
    fn now_ms(&self) -> u64;

    /// Returns the time until `at_ms`, Redis time; zero if it has passed.
    #[must_use]
    fn left_until(&self, at_ms: u64) -> Duration {
        Duration::from_millis(at_ms.saturating_sub(self.now_ms()))
    }

    /// Returns after a reconnect: messages in between are lost. Also returns when there will be no
    /// further connection.
    fn reconnected(&self) -> impl Future<Output = ()> + Send + 'static;

    /// Returns the current connection, if there is one.
    #[must_use]
    fn standing(&self) -> Option<Self::Id>;

    /// Returns `true` if there is a connection now.
    #[must_use]
    fn is_up(&self) -> bool;

    /// Waits up to `timeout` for a connection. Returns `true` if there is one.
    fn wait_up(&self, timeout: Duration) -> impl Future<Output = bool> + Send;

    /// Subscribes to `channel`, across reconnects. Returns after Redis has confirmed.
    ///
    /// # Errors
    ///
    /// If Redis is not reachable within `timeout`, or refuses. The channel is then not kept.
    fn subscribe(
        &self,
        channel: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Unsubscribes from `channel`. Best effort: a broken connection has no subscriptions anyway.
    fn unsubscribe(&self, channel: &str) -> impl Future<Output = ()> + Send;

    /// Closes the connection that `unblocker` names: Redis does not run those of its commands that
    /// have not run yet.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn cut(
        &self,
        unblocker: &Self::Unblocker,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the wait that `unblocker` names as if its timeout were over, if it blocks.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached within `timeout` or refuses.
    fn unblock(
        &self,
        unblocker: &Self::Unblocker,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
