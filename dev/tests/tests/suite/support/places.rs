//! Where tests are: the time of their Redis, and the folder of the repository.

use std::path::{Path, PathBuf};

use redis::aio::MultiplexedConnection;

/// Redis time, ms since the epoch. Read from Redis itself: the time of a link is off by as much as
/// the machine delays one way of a round trip more than the other.
pub(crate) async fn now_ms(conn: &mut MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(conn).await.unwrap();
    seconds * 1000 + micros / 1000
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
