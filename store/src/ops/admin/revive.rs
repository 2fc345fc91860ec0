//! `revive.lua`: put dead letters back into their queue.

use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::error::StoreError;
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Put dead letters back into their queue.
    REVIVE = "admin/revive", Runs, of Admin;
    with UNDO, ROOM, STATUS;
    read |value, count| revived(value, count).map(Reading::list)
}

/// A dead letter to retry.
#[derive(Debug)]
pub struct Revival {
    /// Its entry in the stream.
    pub entry: String,
    /// The request's id.
    pub id: String,
    /// The envelope to queue.
    pub envelope: String,
}

/// The result for one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revived {
    /// It is queued.
    Yes,
    /// Another process has retried or purged it.
    Gone,
    /// It remains a dead letter: the queue is full.
    Full,
}

/// Puts letters back into the queue, in order and in one step. Returns one result each.
/// `max_length` 0 means no cap. After [`StoreError::Lost`] they may be queued; a repeated call
/// returns [`Revived::Gone`] for those.
pub(crate) async fn revive(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
    max_length: u64,
    letters: &[Revival],
) -> Result<Vec<Revived>, StoreError> {
    let own = [
        keys.dead(),
        keys.queue(),
        keys.cancelled(),
        keys.schedule(),
        keys.limited_names(),
        keys.parked_names(),
        keys.deferred_ids(),
    ];
    let mut call = REVIVE.call(&own);
    call.arg(max_length);
    for Revival { entry, id, envelope } in letters {
        call.arg(entry).arg(id).arg(envelope);
    }
    revived(REVIVE.run(conn, &call).await?, letters.len())
}

/// Reads the script's reply to `count` letters.
pub(crate) fn revived(value: Value, count: usize) -> Result<Vec<Revived>, StoreError> {
    let results: String = read("revive", value)?;
    let results = results.bytes().map(|result| match result {
        b'R' => Ok(Revived::Yes),
        b'G' => Ok(Revived::Gone),
        b'F' => Ok(Revived::Full),
        _ => Err(StoreError::Unexpected("revive")),
    });
    let results: Vec<Revived> = results.collect::<Result<_, _>>()?;
    if results.len() == count { Ok(results) } else { Err(StoreError::Unexpected("revive")) }
}
