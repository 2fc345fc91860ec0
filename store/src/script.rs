//! The scripts: their texts, their hashes, and running one.
//!
//! Scripts are addressed by hash, so that old and new workers run side by side during a deploy.
//! Each script's typed call is in `ops/`, one file per script.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use super::error::StoreError;

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

/// Globals as variables outside of all levels: to read a global takes a search in a table.
const OUTER: &str = "local redis, KEYS, ARGV = redis, KEYS, ARGV\n";

macro_rules! scripts {
    ($($(#[doc = $doc:literal])+ $name:ident = $file:literal, $full:ident
        $(with $($part:literal),+)? $(and $function:ident $($rare:literal),+)?
        $(then $($inner:literal),+ $(and $lazy:ident $($part_of_it:literal),+)?)*;)+) => {
        $($(#[doc = $doc])+
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let parts: &[&str] = &[
                $($(include_str!(concat!("lua/", $part, ".lua")),)+)?
                $(concat!("local function ", stringify!($function), "()\n"),
                    $(include_str!(concat!("lua/", $rare, ".lua")),)+
                    "end\n",)?
            ];
            let levels: &[&[&str]] = &[$(&[
                $(include_str!(concat!("lua/", $inner, ".lua")),)+
                $(concat!("local function ", stringify!($lazy), "()\n"),
                    $(include_str!(concat!("lua/", $part_of_it, ".lua")),)+
                    "end\n",)?
            ],)*];
            let body = include_str!(concat!("lua/", $file, ".lua"));
            Script::new($file, WhenFull::$full, parts, levels, body)
        });)+

        /// Returns every script, to load them on a new connection.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&*$name),+]
        }
    };
}

// `with` lists the parts in front of a script. Those after `and` are inside a function of that
// name: a script creates all of its functions at every call, and these only if it calls that one.
//
// Each `then` begins a function around the following parts and the script. To create a function,
// Lua searches all shared variables of the function around it for each variable that the new one
// uses, but finds those from further out at once: the cost grows with the square of a level's size.
scripts! {
    /// Push requests at the tail.
    ENQUEUE = "enqueue", Refused with "room";
    /// Enqueue one request that needs more than a plain push.
    PLACE = "place", Refused
        with "undo", "room", "kept", "status", "scan", "joined", "cancelled_call";
    /// Withdraw requests.
    CANCEL = "cancel", Runs
        with "undo", "live", "bytes", "kept", "answers", "record", "status", "scan", "joined",
            "calls", "deferred";
    /// Settle and lease, on any queue.
    POLL = "poll", Runs
        then "undo", "live", "bytes", "kept", "answers", "scan", "poll_common", "refusal"
        then "limits", "flags" and special_outcomes "record", "status", "joined", "calls",
            "deferred", "special"
        then "outcomes", "sizes", "pops", "leases" and limited "sorted";
    /// Settle and lease where no request is paused, cancelled, limited, parked or retried.
    POLL_FAST = "poll_fast", Runs
        with "live", "kept", "poll_common", "sizes"
        and unusual "undo", "bytes", "answers", "scan", "refusal", "unusual";
    /// Settle a deferred request by its token.
    SETTLE = "settle", Runs
        with "undo", "bytes", "kept", "answers", "record", "status", "scan", "joined", "calls",
            "deferred";
    /// End deferred requests after their deadline.
    EXPIRE = "expire", Runs
        with "undo", "bytes", "kept", "answers", "record", "status", "scan", "joined", "calls",
            "deferred";
    /// Push a frame that does not end its request.
    FRAME = "frame", Runs with "undo";
    /// Trim the frames that a stream's reader has read.
    TRIM = "trim", Runs with "scan";
    /// Renew a worker's registration.
    HEARTBEAT = "heartbeat", Runs with "live";
    /// Return a worker's leased requests to the queue.
    RELEASE = "release", Runs with "undo", "live", "record", "limits";
    /// Move due requests to the queue.
    PROMOTE = "promote", Runs with "undo";
    /// Find out whether a request with an idempotency key is the call or a duplicate.
    CLAIM = "claim", Runs with "undo", "status", "scan", "joined", "cancelled_call";
    /// Run one request of a kind per window.
    UNIQUE = "unique", Runs;
    /// Remember that a signed request was started.
    SEEN = "seen", Runs;
    /// Push the ticks of a recurring schedule.
    TICK = "tick", Refused with "undo", "room";
    /// Record the start of a tracked job.
    START = "start", Runs with "undo", "status";
    /// Read dead letters.
    LETTERS = "letters", Runs;
    /// Read a topic.
    EVENTS = "events", Runs;
    /// Trim a stream to its limit in bytes.
    CUT = "cut", Runs with "bytes";
    /// Measure the answers that a queue keeps.
    TALLY = "tally", Runs;
    /// Give a member of a consumer group its next event.
    GROUP = "group", Runs;
    /// Put dead letters back into their queue.
    REVIVE = "revive", Runs with "undo", "room", "status";
    /// Store a probe for its worker's next poll.
    PROBE = "probe", Runs;
    /// Pause or resume a queue.
    PAUSE = "pause", Runs;
    /// Note that queues are in use.
    NOTE = "note", Runs;
    /// Correct times that are too far ahead.
    TIMES = "times", Runs;
    /// Report times that are too far ahead.
    TIMES_SEEN = "times", Reads;
    /// Return keys of limited names to the rotation.
    ROTATION = "rotation", Runs with "undo", "live", "limits";
    /// Report keys of limited names that are not in exactly one place.
    ROTATION_SEEN = "rotation", Reads with "undo", "live", "limits";
    /// Report the commands that the user may not run.
    RIGHTS = "rights", Reads;
}

impl Script {
    /// Builds a script from its body and its `parts`, which several scripts share; the prelude is
    /// in all. The parts of each level, and the body, are in a function inside that of the level
    /// before.
    fn new(
        name: &'static str,
        full: WhenFull,
        parts: &[&str],
        levels: &[&[&str]],
        body: &str,
    ) -> Self {
        let first = match full {
            WhenFull::Refused => "#!lua",
            WhenFull::Runs => "#!lua flags=allow-oom",
            WhenFull::Reads => "#!lua flags=no-writes",
        };
        let prelude = include_str!("lua/prelude.lua");
        let inner: String =
            levels.iter().map(|level| format!("return (function()\n{}", level.concat())).collect();
        let end = "end)()\n".repeat(levels.len());
        let inner = if inner.is_empty() { inner } else { OUTER.to_owned() + &inner };
        let parts = (parts.concat() + &inner).replace("<8,200 blanks>", &" ".repeat(8200));
        let text = format!("{first}\n{prelude}{parts}{body}{end}");
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
