//! A queue with a registered worker, whose requests stay where they are.

use redcall_client::{Client, RequestBuilder};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::QUEUE;

/// The queue, and its callers.
pub(crate) struct Still {
    pub(crate) conn: MultiplexedConnection,
    pub(crate) client: Client,
    pub(crate) bench: Bench,
}

impl Still {
    pub(crate) async fn new() -> Self {
        Self::with(Bench::new().await).await
    }

    /// The queue at the server of `bench`, with its settings.
    pub(crate) async fn with(bench: Bench) -> Self {
        let mut conn = bench.redis.connection().await;
        crate::support::seems_served(&mut conn, "default").await;
        let client = bench.client().await;
        Self { conn, client, bench }
    }

    pub(crate) fn request(&self) -> RequestBuilder {
        self.client.request("add").data(&1)
    }

    /// The time at Redis, ms since the epoch.
    pub(crate) async fn now_ms(&mut self) -> u64 {
        crate::support::now_ms(&mut self.conn).await
    }

    /// The requests in the queue, as soon as there are `count`; no more come.
    pub(crate) async fn queued(&mut self, count: usize) -> Vec<String> {
        let raws = eventually("requests to be queued", async || {
            let raws: Vec<String> = self.conn.lrange(QUEUE, 0, -1).await.unwrap();
            (raws.len() >= count).then_some(raws)
        })
        .await;
        assert_eq!(raws.len(), count, "{raws:?}");
        raws
    }
}
