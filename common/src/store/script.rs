//! The scripts: their texts, their hashes, and running one.
//!
//! Addressed by hash, so that old and new workers run side by side during a deploy. Each script's
//! typed call stands in `ops/`, one file per script.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use super::error::StoreError;

/// One script, with the shared prelude in front.
pub(super) struct Script {
    name: &'static str,
    inner: redis::Script,
    text: String,
}

macro_rules! scripts {
    ($($(#[doc = $doc:literal])+ $name:ident = $file:literal $(with $($part:literal),+)?;)+) => {
        $($(#[doc = $doc])+
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let parts = [$($(include_str!(concat!("lua/", $part, ".lua"))),+)?];
            Script::new($file, &parts, include_str!(concat!("lua/", $file, ".lua")))
        });)+

        /// Every script, to load them on a new connection.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&*$name),+]
        }
    };
}

scripts! {
    /// Push requests at the tail.
    ENQUEUE = "enqueue" with "room";
    /// Place one request that is more than a plain push.
    PLACE = "place" with "room";
    /// Withdraw requests.
    CANCEL = "cancel";
    /// Settle and lease.
    CYCLE = "cycle" with "record", "limits";
    /// Push a frame that does not end its request.
    FRAME = "frame";
    /// Say that a worker lives.
    HEARTBEAT = "heartbeat";
    /// Give back what a worker holds.
    RELEASE = "release" with "record", "limits";
    /// Move what is due to the queue.
    PROMOTE = "promote";
    /// Ask what a request under an idempotency key is.
    CLAIM = "claim";
    /// Let one request of a kind through per window.
    UNIQUE = "unique";
    /// Push the ticks of a recurring schedule.
    TICK = "tick" with "room";
    /// Read dead letters.
    LETTERS = "letters";
    /// Put dead letters back into their queue.
    REVIVE = "revive" with "room";
    /// Put a probe where its worker's turn takes it from.
    PROBE = "probe";
    /// Pause a queue, let it go on.
    PAUSE = "pause";
}

impl Script {
    /// `parts` are what several scripts share, beside the prelude that is in all of them.
    fn new(name: &'static str, parts: &[&str], body: &str) -> Self {
        let text = format!("{}{}{body}", include_str!("lua/prelude.lua"), parts.concat());
        Self { name, inner: redis::Script::new(&text), text }
    }

    /// The whole script, as Redis gets it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A call by hash: keys first, then arguments.
    pub(super) fn call(&self, keys: &[impl AsRef<str>]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.inner.get_hash()).arg(keys.len());
        for key in keys {
            cmd.arg(key.as_ref());
        }
        cmd
    }

    /// Runs a call made by [`Script::call`]; loads the script once if Redis has lost it.
    pub(super) async fn run(
        &self,
        conn: &mut MultiplexedConnection,
        call: &Cmd,
    ) -> Result<Value, StoreError> {
        match call.query_async::<Value>(conn).await {
            Err(error) if is_no_script(&error) => {
                self.load(conn).await?;
                Ok(call.query_async(conn).await?)
            }
            other => Ok(other?),
        }
    }

    /// Loads the script into Redis.
    pub(super) async fn load(&self, conn: &mut MultiplexedConnection) -> Result<(), StoreError> {
        tracing::debug!(script = self.name, "loading");
        redis::cmd("SCRIPT").arg("LOAD").arg(&self.text).exec_async(conn).await?;
        Ok(())
    }
}

/// Whether Redis does not know the script (it was restarted, or its scripts were flushed).
pub(super) fn is_no_script(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Loads every script in one round trip, so that no call has to find out first.
pub(super) async fn load_all(conn: &mut MultiplexedConnection) -> Result<(), StoreError> {
    let mut pipe = redis::pipe();
    for script in all() {
        pipe.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
    }
    pipe.exec_async(conn).await?;
    Ok(())
}
