//! `enqueue.lua`: push requests at the tail of one queue.

use std::time::Duration;

use futures_util::TryFutureExt;
use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{self, Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Push requests at the tail.
    ENQUEUE = "client/enqueue", Refused, of Client;
    with ROOM;
    read |value, _| enqueued(value).map(Reading::of)
}

/// One request to push.
#[derive(Debug)]
pub struct Item {
    /// `true` if a caller waits: the request is then refused unless a live worker serves the queue.
    pub waited: bool,
    /// The envelope.
    pub envelope: String,
}

/// The result for the waited requests of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// They were accepted like the others.
    Taken,
    /// They were refused: no live worker serves the queue.
    NoWorkers,
    /// They were refused: the answers kept on the queue are at their limit.
    AnswersFull,
}

/// The result of pushing a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// The result for the waited requests.
    pub waited: Waited,
    /// How many of the accepted requests were pushed, in order; the queue had no room for the rest.
    pub accepted: usize,
}

impl Connection {
    pub(crate) async fn enqueue(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        items: &[Item],
        forget: &[String],
        timeout: Duration,
    ) -> Result<Enqueued, StoreError> {
        let call = call(keys, max_length, items);
        let value = if forget.is_empty() {
            self.run(&ENQUEUE, &call, timeout).await?
        } else {
            let (mut conn, generation) = self.connection(timeout).await?;
            let mut pipe = redis::pipe();
            pipe.ignore_errors().cmd("UNLINK").arg(forget).add_command(call.clone());
            let sending = pipe.query_async::<Vec<redis::RedisResult<Value>>>(&mut conn);
            let mut replies =
                self.during(generation, sending.map_err(StoreError::of_driver)).await?;
            match replies.pop() {
                Some(Ok(value)) => value,
                Some(Err(error)) if script::is_script_unknown(&error) => {
                    self.run(&ENQUEUE, &call, timeout).await?
                }
                Some(Err(error)) => return self.note(generation, Err(ENQUEUE.failed(error))),
                None => return Err(StoreError::Unexpected("enqueue")),
            }
        };
        enqueued(value)
    }
}

/// The script call.
pub(crate) fn call(keys: &QueueKeys, max_length: u64, items: &[Item]) -> Cmd {
    let own = [
        keys.queue(),
        keys.workers(),
        keys.schedule(),
        keys.limited_names(),
        keys.parked_names(),
        keys.deferred_ids(),
        keys.answers_full(),
    ];
    let mut call = ENQUEUE.call(&own);
    let waited = items.iter().map(|item| if item.waited { '1' } else { '0' });
    call.arg(max_length).arg(waited.collect::<String>());
    for item in items {
        call.arg(&item.envelope);
    }
    call
}

/// Reads the script's reply.
pub(crate) fn enqueued(value: Value) -> Result<Enqueued, StoreError> {
    let (live, accepted): (i64, Whole) = read("enqueue", value)?;
    let waited = match live {
        0 => Waited::NoWorkers,
        1 => Waited::Taken,
        2 => Waited::AnswersFull,
        _ => return Err(StoreError::Unexpected("enqueue")),
    };
    Ok(Enqueued { waited, accepted: accepted.count() })
}
