//! Waiting for requests and events, on connections of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::error::StoreError;
use crate::ops::{LimitRule, PollReply, TopicRead, WorkerKeys};
use redcall_common::event::EventId;

/// Waits for the requests of one queue, on a connection of its own.
pub trait RequestPop: Sized + Send + 'static {
    /// Opens its connection.
    type Opener;
    /// Names its wait.
    type Unblocker;

    /// Connects at the first use.
    #[must_use]
    fn new(opener: Self::Opener, keys: Arc<WorkerKeys>) -> Self;

    /// Returns the handle with which [`crate::Session::unblock`] ends its wait.
    #[must_use]
    fn unblocker(&self) -> Self::Unblocker;

    /// Waits up to `block` for a request and leases it. The reply's `leased` is empty if none came.
    /// A request of a limited name in `rules` is partitioned, and the next one within its limit is
    /// leased. `more` is [`QueuePoll::more`](crate::QueuePoll::more).
    ///
    /// Dropping the future closes the connection; an element in flight is then in the inbox, which
    /// the worker's next [`QueuePoll`](crate::QueuePoll) reads first.
    ///
    /// # Errors
    ///
    /// After any error the same holds; [`RequestPop::renew`] ensures that the old connection
    /// leases nothing more.
    fn next(
        &mut self,
        block: Duration,
        rules: &[LimitRule],
        more: bool,
    ) -> impl Future<Output = Result<PollReply, StoreError>> + Send;

    /// Reconnects, and closes the previous connection at Redis: its commands that Redis has not
    /// read yet must not lease anything.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    fn renew(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Waits for the events of any number of topics, on a connection of its own.
pub trait TopicWatch: Sized + Send + 'static {
    /// Opens its connection.
    type Opener;
    /// Names its wait.
    type Unblocker;

    /// Connects at the first use.
    #[must_use]
    fn new(opener: Self::Opener) -> Self;

    /// Returns the handle with which [`crate::Session::unblock`] ends a wait.
    #[must_use]
    fn unblocker(&self) -> Self::Unblocker;

    /// Returns `true` if the next call uses the same connection as the last one.
    #[must_use]
    fn stands(&self) -> bool;

    /// Closes the connection; the next call opens another.
    fn close(&mut self);

    /// Reads the stream `key` beyond `from`. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    fn read_topic(
        &mut self,
        key: &str,
        from: EventId,
        max: usize,
    ) -> impl Future<Output = Result<TopicRead, StoreError>> + Send;

    /// Waits up to `block` for entries beyond the positions of these streams. Returns the keys of
    /// the streams that have some. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    fn wait(
        &mut self,
        streams: &[(String, EventId)],
        block: Duration,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;
}
