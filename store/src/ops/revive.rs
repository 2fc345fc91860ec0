//! `revive.lua`: put dead letters back into their queue.

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::reply::read;
use crate::error::StoreError;
use crate::script::REVIVE;
use redcall_common::keys::QueueKeys;

/// A dead letter that is to run again.
#[derive(Debug)]
pub(crate) struct Revival {
    /// Its entry in the stream.
    pub(crate) entry: String,
    /// The request's id.
    pub(crate) id: String,
    /// What goes to the queue.
    pub(crate) envelope: String,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revived {
    /// It is queued.
    Yes,
    /// Somebody else has retried it or taken it away.
    Gone,
    /// It lies where it was: the queue has no room.
    Full,
}

/// Puts letters back, in order and in one step; one result each. `max_length` 0 means no cap.
/// After [`StoreError::Lost`] they may be queued; those are gone the next time.
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

/// Reads the script's answer to `count` letters.
pub(super) fn revived(value: Value, count: usize) -> Result<Vec<Revived>, StoreError> {
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
