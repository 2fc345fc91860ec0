//! Redis behind the seam.

use std::sync::Arc;
use std::time::Duration;

use super::session::Session;
use super::waits::{RequestPop, TopicWatch};
use crate::connection::{Connection, ConnectionId, Connector, PushHandler, Unblocker};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::inspect::Inspector;
use crate::ops::admin::{letters, revive};
use crate::ops::delegate::delegate;
use crate::ops::reply::millis;
use crate::ops::{
    BlockingPop, DeadOps, EventWatch, LetterBatch, LetterRange, LimitRule, PollReply, Revival,
    Revived, TopicRead, WorkerKeys, scripts,
};
use redcall_common::event::EventId;
use redcall_common::keys::QueueKeys;

impl Session for Connection {
    type Opener = Connector;
    type Id = ConnectionId;
    type Unblocker = Unblocker;
    type Pop = BlockingPop;
    type Watch = EventWatch;

    fn connect(
        opener: Connector,
        handler: PushHandler,
    ) -> impl Future<Output = Result<Self, StoreError>> + Send {
        Self::open(opener, handler, scripts())
    }

    #[inline]
    fn now_ms(&self) -> u64 {
        Self::now_ms(self)
    }

    #[inline]
    fn reconnected(&self) -> impl Future<Output = ()> + Send + 'static {
        Self::reconnected(self)
    }

    #[inline]
    fn standing(&self) -> Option<ConnectionId> {
        Self::standing(self)
    }

    #[inline]
    fn is_up(&self) -> bool {
        Self::is_up(self)
    }

    delegate! {
        fn wait_up(&self, timeout: Duration) -> bool;
        fn subscribe(&self, channel: &str, timeout: Duration) -> Result<(), StoreError>;
        fn unsubscribe(&self, channel: &str) -> ();
        fn cut(&self, unblocker: &Unblocker, timeout: Duration) -> Result<(), StoreError>;
        fn unblock(&self, unblocker: &Unblocker, timeout: Duration) -> Result<(), StoreError>;
    }
}

impl RequestPop for BlockingPop {
    type Opener = Connector;
    type Unblocker = Unblocker;

    fn new(opener: Connector, keys: Arc<WorkerKeys>) -> Self {
        Self::new(opener, keys)
    }

    fn unblocker(&self) -> Unblocker {
        Self::unblocker(self)
    }

    #[inline]
    fn next(
        &mut self,
        block: Duration,
        rules: &[LimitRule],
        more: bool,
    ) -> impl Future<Output = Result<PollReply, StoreError>> + Send {
        Self::next(self, block, rules, more)
    }

    #[inline]
    fn renew(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send {
        Self::renew(self)
    }
}

impl TopicWatch for EventWatch {
    type Opener = Connector;
    type Unblocker = Unblocker;

    fn new(opener: Connector) -> Self {
        Self::new(opener)
    }

    fn unblocker(&self) -> Unblocker {
        Self::unblocker(self)
    }

    fn stands(&self) -> bool {
        Self::stands(self)
    }

    fn close(&mut self) {
        Self::close(self);
    }

    #[inline]
    fn read_topic(
        &mut self,
        key: &str,
        from: EventId,
        max: usize,
    ) -> impl Future<Output = Result<TopicRead, StoreError>> + Send {
        Self::read_topic(self, key, from, max)
    }

    #[inline]
    fn wait(
        &mut self,
        streams: &[(String, EventId)],
        block: Duration,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send {
        Self::wait(self, streams, block)
    }
}

impl DeadOps for Inspector {
    async fn time_ms(&self) -> Result<u64, StoreError> {
        let mut conn = self.connection().await?;
        redis::cmd("TIME").query_async(&mut conn).await.map(millis).or_store()
    }

    async fn letters(
        &self,
        keys: &QueueKeys,
        range: &LetterRange,
        max: usize,
    ) -> Result<LetterBatch, StoreError> {
        letters::letters(&mut self.connection().await?, keys, range, max).await
    }

    async fn remove_letters(
        &self,
        keys: &QueueKeys,
        entries: &[String],
    ) -> Result<Vec<bool>, StoreError> {
        letters::remove(&mut self.connection().await?, keys, entries).await
    }

    async fn revive_letters(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        letters: &[Revival],
    ) -> Result<Vec<Revived>, StoreError> {
        revive::revive(&mut self.connection().await?, keys, max_length, letters).await
    }
}
