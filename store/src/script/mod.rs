//! The scripts: their texts, their hashes, and running one.
//!
//! Scripts are addressed by hash, so that old and new workers run side by side during a deploy.
//! Each script's typed call is in `ops/`, one file per script.

mod parts;

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use crate::error::StoreError;

/// One script, including the shared prelude.
#[derive(Debug)]
pub(super) struct Script {
    name: &'static str,
    inner: redis::Script,
    text: String,
}

/// How a script reacts if Redis has no memory left. Redis decides before the first line: no script
/// stops half-way.
#[derive(Clone, Copy)]
enum WhenFull {
    /// It adds work, and is refused.
    Refused,
    /// It runs: existing work must be processed and settled, or memory is never freed.
    Runs,
    /// It runs, but only reads: Redis refuses each of its writes.
    Reads,
}

macro_rules! scripts {
    ($($(#[doc = $doc:literal])+ $name:ident = $file:literal, $full:ident
        $(with $($part:ident),+)? $(and $function:ident $($rare:ident),+)?;)+) => {
        $($(#[doc = $doc])+
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let parts: &[&str] = &[
                $($(parts::$part,)+)?
                $(concat!("local function ", stringify!($function), "()\n"),
                    $(parts::$rare,)+
                    "end\n",)?
            ];
            let body = include_str!(concat!("../lua/scripts/", $file, ".lua"));
            Script::new($file, WhenFull::$full, parts, body)
        });)+

        /// Returns every script, to load them on a new connection.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&*$name),+]
        }
    };
}

// `with` lists the parts in front of a script. Those after `and` are inside a function of that
// name: a script creates all of its functions at every call, and these only if it calls that one.
scripts! {
    /// Push requests at the tail.
    ENQUEUE = "client/enqueue", Refused with ROOM;
    /// Enqueue one request that needs more than a plain push.
    PLACE = "client/place", Refused
        with UNDO, ROOM, KEPT, STATUS, SCAN, JOINED, CANCELLED_CALL;
    /// Withdraw requests.
    CANCEL = "client/cancel", Runs
        with UNDO, LIVE, BYTES, KEPT, ANSWERS, RECORD, STATUS, SCAN, JOINED,
            CALLS, DEFERRED;
    /// Settle and lease, on any queue.
    POLL = "worker/poll", Runs
        with UNDO, LIVE, BYTES, KEPT, ANSWERS, SCAN, POLL_COMMON, REFUSAL, SIZES,
            POPS, RECORD, LIMITS, STATUS, JOINED, CALLS, DEFERRED, OUTCOMES,
            LEASES, SORTED;
    /// Settle and lease where no request is paused, cancelled, limited, parked or retried.
    POLL_FAST = "worker/poll_fast", Runs
        with LIVE, KEPT, POLL_COMMON, SIZES
        and unusual UNDO, BYTES, ANSWERS, SCAN, REFUSAL, UNUSUAL;
    /// Settle a deferred request by its token.
    SETTLE = "client/settle", Runs
        with UNDO, BYTES, KEPT, ANSWERS, RECORD, STATUS, SCAN, JOINED, CALLS,
            DEFERRED;
    /// End deferred requests after their deadline.
    EXPIRE = "worker/expire", Runs
        with UNDO, BYTES, KEPT, ANSWERS, RECORD, STATUS, SCAN, JOINED, CALLS,
            DEFERRED;
    /// Push a frame that does not end its request.
    FRAME = "worker/frame", Runs with UNDO;
    /// Trim the frames that a stream's reader has read.
    TRIM = "client/trim", Runs with SCAN;
    /// Renew a worker's registration.
    HEARTBEAT = "worker/heartbeat", Runs with LIVE;
    /// Return a worker's leased requests to the queue.
    RELEASE = "worker/release", Runs with UNDO, LIVE, RECORD, LIMITS;
    /// Move due requests to the queue.
    PROMOTE = "worker/promote", Runs with UNDO;
    /// Find out whether a request with an idempotency key is the call or a duplicate.
    CLAIM = "worker/claim", Runs with UNDO, STATUS, SCAN, JOINED, CANCELLED_CALL;
    /// Run one request of a kind per window.
    UNIQUE = "worker/unique", Runs;
    /// Remember that a signed request was started.
    SEEN = "worker/seen", Runs;
    /// Push the ticks of a recurring schedule.
    TICK = "worker/tick", Refused with UNDO, ROOM;
    /// Record the start of a tracked job.
    START = "worker/start", Runs with UNDO, STATUS;
    /// Read dead letters.
    LETTERS = "admin/letters", Runs;
    /// Read a topic.
    EVENTS = "client/events", Runs;
    /// Trim a stream to its limit in bytes.
    CUT = "shared/cut", Runs with BYTES;
    /// Measure the answers that a queue keeps.
    TALLY = "worker/tally", Runs;
    /// Give a member of a consumer group its next event.
    GROUP = "client/group", Runs;
    /// Put dead letters back into their queue.
    REVIVE = "admin/revive", Runs with UNDO, ROOM, STATUS;
    /// Store a probe for its worker's next poll.
    PROBE = "worker/probe", Runs;
    /// Pause or resume a queue.
    PAUSE = "admin/pause", Runs;
    /// Note that queues are in use.
    NOTE = "shared/note", Runs;
    /// Correct times that are too far ahead.
    TIMES = "shared/times", Runs;
    /// Report times that are too far ahead.
    TIMES_SEEN = "shared/times", Reads;
    /// Return keys of limited names to the rotation.
    ROTATION = "shared/rotation", Runs with UNDO, LIVE, LIMITS;
    /// Report keys of limited names that are not in exactly one place.
    ROTATION_SEEN = "shared/rotation", Reads with UNDO, LIVE, LIMITS;
    /// Report the commands that the user may not run.
    RIGHTS = "shared/rights", Reads;
}

impl Script {
    /// Builds a script from its body and its `parts`, which several scripts share; the prelude is
    /// in all.
    fn new(path: &'static str, full: WhenFull, parts: &[&str], body: &str) -> Self {
        let first = match full {
            WhenFull::Refused => "#!lua",
            WhenFull::Runs => "#!lua flags=allow-oom",
            WhenFull::Reads => "#!lua flags=no-writes",
        };
        let prelude = parts::PRELUDE;
        let parts = parts.concat().replace("<8,200 blanks>", &" ".repeat(8200));
        let text = format!("{first}\n{prelude}{parts}{body}");
        let name = path.rsplit('/').next().unwrap_or(path);
        Self { name, inner: redis::Script::new(&text), text }
    }

    /// Returns its name, which is that of its file.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the whole script, as sent to Redis.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns a call by hash: keys first, then arguments.
    pub(super) fn call(&self, keys: &[impl AsRef<str>]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.inner.get_hash()).arg(keys.len());
        for key in keys {
            cmd.arg(key.as_ref());
        }
        cmd
    }

    /// Runs a call made by [`Script::call`]. If Redis does not know its hash (after a restart or a
    /// flush of scripts), sends the call again with the script's whole text, which also loads it:
    /// no flush can come in between. Calls in a pipeline end up here too.
    pub(super) async fn run(
        &self,
        conn: &mut MultiplexedConnection,
        call: &Cmd,
    ) -> Result<Value, StoreError> {
        let ran = match call.query_async::<Value>(conn).await {
            Err(error) if is_script_unknown(&error) => {
                tracing::debug!(
                    script = self.name,
                    "sent the script's text: Redis does not know its hash"
                );
                self.whole(call).query_async(conn).await
            }
            other => other,
        };
        ran.map_err(|error| self.failed(error))
    }

    /// Returns the same call by text instead of by hash.
    fn whole(&self, call: &Cmd) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(&self.text);
        // After the command's name and the hash.
        for arg in call.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }

    /// Returns the error of a failed call of this script.
    pub(super) fn failed(&self, error: redis::RedisError) -> StoreError {
        StoreError::from(error).of_script(self.name)
    }

    /// Loads the script into Redis.
    pub(super) async fn load(&self, conn: &mut MultiplexedConnection) -> Result<(), StoreError> {
        tracing::debug!(script = self.name, "loading");
        redis::cmd("SCRIPT").arg("LOAD").arg(&self.text).exec_async(conn).await?;
        Ok(())
    }
}

/// Returns `true` if Redis does not know the script, after a restart or a flush of scripts.
pub(super) fn is_script_unknown(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Loads every script in one round trip, so that no call fails first.
pub(super) async fn load_all(conn: &mut MultiplexedConnection) -> Result<(), StoreError> {
    let mut pipe = redis::pipe();
    for script in all() {
        pipe.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
    }
    pipe.exec_async(conn).await?;
    Ok(())
}
