//! Waits until a queue of rq has jobs, on a connection of its own.
//!
//! `BLMOVE` from the head of a list to its own head blocks while the list is empty, and changes
//! nothing otherwise. So only `take.lua` takes jobs: across all queues in the order of their
//! urgency, and never more than there is room for.
//!
//! Redis sends no reply to `BLMOVE` (`CLIENT REPLY SKIP`), as the id of a job may be of any size.
//! The length of the queue, in the same write, is the reply.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Pipeline, Value};
use tokio::time::Instant;

use crate::connection::{Blocking, Connector, Use};
use crate::driver::OrStore;
use crate::error::StoreError;

/// Moves nothing: a wait of a connection that was given up is harmless.
const USE: Use = Use { scripts: &[], cuts: false };

/// A wait for the jobs of one queue. Connects at the first use.
#[derive(Debug)]
pub struct QueueSignal {
    blocking: Blocking,
    key: String,
    /// `true` if the last wait ended early without jobs: Redis may refuse waits, and the next one
    /// requests its reply.
    early: bool,
}

impl QueueSignal {
    pub(super) fn new(connector: Connector, key: String) -> Self {
        Self { blocking: Blocking::new(connector, USE), key, early: false }
    }

    /// Waits up to `block` until the queue has jobs. Returns `true` if it has. Dropping the future
    /// closes the connection.
    ///
    /// # Errors
    ///
    /// If rq's Redis cannot be reached, or refuses: also if the queue is not a list.
    pub async fn wait(&mut self, block: Duration) -> Result<bool, StoreError> {
        let (mut conn, peer) = self.blocking.take().await?;
        let began = Instant::now();
        let waiting = reply(&mut conn, self.pipeline(block));
        let waited = self.blocking.wait(&peer, block, waiting).await?;
        self.blocking.put_back((conn, peer));
        let has_jobs = waited > 0;
        self.early = !has_jobs && began.elapsed() < block / 2;
        Ok(has_jobs)
    }

    fn pipeline(&self, block: Duration) -> (Pipeline, usize) {
        let mut pipe = redis::pipe();
        if !self.early {
            pipe.cmd("CLIENT").arg("REPLY").arg("SKIP");
        }
        let block = block.as_secs_f64();
        pipe.cmd("BLMOVE").arg(&self.key).arg(&self.key).arg("LEFT").arg("LEFT").arg(block);
        pipe.cmd("LLEN").arg(&self.key);
        (pipe, if self.early { 2 } else { 1 })
    }
}

/// Sends a wait, and returns the length of its queue, which is in the last of its replies.
async fn reply(
    conn: &mut MultiplexedConnection,
    (pipe, replies): (Pipeline, usize),
) -> Result<i64, StoreError> {
    let mut last = Value::Nil;
    for value in conn.req_packed_commands(&pipe, 0, replies).await.or_store()? {
        last = value.extract_error().or_store()?;
    }
    match last {
        Value::Int(length) => Ok(length),
        _ => Err(StoreError::Unexpected("LLEN")),
    }
}
