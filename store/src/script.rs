//! The scripts: their texts, their hashes, and running one.
//!
//! Addressed by hash, so that old and new workers run side by side during a deploy. Each script's
//! typed call stands in `ops/`, one file per script.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use super::error::StoreError;

/// One script, with the shared prelude in front.
#[derive(Debug)]
pub(super) struct Script {
    name: &'static str,
    inner: redis::Script,
    text: String,
}

/// What a script does when Redis has no memory left. Both are decided before its first line: no
/// script stops half-way.
#[derive(Clone, Copy)]
enum WhenFull {
    /// It brings new work, and is refused.
    Refused,
    /// It runs: what is there must be done and settled, or memory never gets free.
    Runs,
    /// It runs, and only reads: Redis refuses each of its writes.
    Reads,
}

macro_rules! scripts {
    ($($(#[doc = $doc:literal])+ $name:ident = $file:literal, $full:ident
        $(with $($part:literal),+)? $(and $function:ident $($rare:literal),+)?;)+) => {
        $($(#[doc = $doc])+
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let parts: &[&str] = &[
                $($(include_str!(concat!("lua/", $part, ".lua")),)+)?
                $(concat!("local function ", stringify!($function), "()\n"),
                    $(include_str!(concat!("lua/", $rare, ".lua")),)+
                    "end\n",)?
            ];
            let body = include_str!(concat!("lua/", $file, ".lua"));
            Script::new($file, WhenFull::$full, parts, body)
        });)+

        /// Every script, to load them on a new connection.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&*$name),+]
        }
    };
}

// `with` are the parts in front of a script. Those behind `and` stand within a function of that
// name: a script makes each of its functions anew at every call, and these only if it calls that.
scripts! {
    /// Push requests at the tail.
    ENQUEUE = "enqueue", Refused with "room";
    /// Place one request that is more than a plain push.
    PLACE = "place", Refused with "undo", "room", "kept", "status", "scan", "joined", "anew";
    /// Withdraw requests.
    CANCEL = "cancel", Runs
        with "undo", "live", "bytes", "kept", "answers", "record", "status", "scan", "joined",
            "calls", "deferred";
    /// Settle and lease, whatever is in the queue.
    POLL = "poll", Runs
        with "undo", "live", "bytes", "kept", "answers", "scan", "poll_common", "refusal", "sizes",
            "pops", "record", "limits", "status", "joined", "calls", "deferred", "outcomes",
            "leases", "sorted";
    /// Settle and lease where nothing is paused, cancelled, limited, parked or retried.
    POLL_FAST = "poll_fast", Runs
        with "live", "kept", "poll_common", "sizes"
        and unusual "undo", "bytes", "answers", "scan", "refusal", "unusual";
    /// Settle a deferred request by its token.
    SETTLE = "settle", Runs
        with "undo", "bytes", "kept", "answers", "record", "status", "scan", "joined", "calls",
            "deferred";
    /// End deferred requests whose time is over.
    EXPIRE = "expire", Runs
        with "undo", "bytes", "kept", "answers", "record", "status", "scan", "joined", "calls",
            "deferred";
    /// Push a frame that does not end its request.
    FRAME = "frame", Runs with "undo";
    /// Drop what a reader of a stream has had.
    TRIM = "trim", Runs with "scan";
    /// Say that a worker lives.
    HEARTBEAT = "heartbeat", Runs with "live";
    /// Give back what a worker holds.
    RELEASE = "release", Runs with "undo", "live", "record", "limits";
    /// Move what is due to the queue.
    PROMOTE = "promote", Runs with "undo";
    /// Ask what a request under an idempotency key is.
    CLAIM = "claim", Runs with "undo", "status", "scan", "joined", "anew";
    /// Let one request of a kind through per window.
    UNIQUE = "unique", Runs;
    /// Remember that a signed request was started.
    SEEN = "seen", Runs;
    /// Push the ticks of a recurring schedule.
    TICK = "tick", Refused with "undo", "room";
    /// Say that a monitored job starts.
    START = "start", Runs with "undo", "status";
    /// Read dead letters.
    LETTERS = "letters", Runs;
    /// Read a topic.
    EVENTS = "events", Runs;
    /// Cut a stream back to its bound in bytes.
    CUT = "cut", Runs with "bytes";
    /// Add up the answers that are kept.
    TALLY = "tally", Runs;
    /// Give a member of a group its next event.
    GROUP = "group", Runs;
    /// Put dead letters back into their queue.
    REVIVE = "revive", Runs with "undo", "room", "status";
    /// Put a probe where its worker's poll takes it from.
    PROBE = "probe", Runs;
    /// Pause a queue, let it go on.
    PAUSE = "pause", Runs;
    /// Note that queues are in use.
    NOTE = "note", Runs;
    /// Bring times back within their bounds.
    TIMES = "times", Runs;
    /// Look whether times are within their bounds.
    TIMES_SEEN = "times", Reads;
    /// Bring keys of limited names back into their rotation.
    ROTATION = "rotation", Runs with "undo", "live", "limits";
    /// Look whether each key of limited names is in one place.
    ROTATION_SEEN = "rotation", Reads with "undo", "live", "limits";
    /// Tell which commands the user may not run.
    RIGHTS = "rights", Reads;
}

impl Script {
    /// `parts` are what several scripts share, beside the prelude that is in all of them.
    fn new(name: &'static str, full: WhenFull, parts: &[&str], body: &str) -> Self {
        let first = match full {
            WhenFull::Refused => "#!lua",
            WhenFull::Runs => "#!lua flags=allow-oom",
            WhenFull::Reads => "#!lua flags=no-writes",
        };
        let prelude = include_str!("lua/prelude.lua");
        let parts = parts.concat().replace("<8,200 blanks>", &" ".repeat(8200));
        let text = format!("{first}\n{prelude}{parts}{body}");
        Self { name, inner: redis::Script::new(&text), text }
    }

    /// Its name, which is that of its file.
    pub(super) fn name(&self) -> &'static str {
        self.name
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

    /// Runs a call made by [`Script::call`]. If Redis does not know its hash (it was restarted, or
    /// its scripts were flushed), the call is sent once more with the script's whole text, which
    /// also loads it: no flush can come in between. Every call ends up here, those that went out
    /// with others in one write as well.
    pub(super) async fn run(
        &self,
        conn: &mut MultiplexedConnection,
        call: &Cmd,
    ) -> Result<Value, StoreError> {
        let ran = match call.query_async::<Value>(conn).await {
            Err(error) if is_no_script(&error) => {
                tracing::debug!(script = self.name, "sent whole: Redis does not know it");
                self.whole(call).query_async(conn).await
            }
            other => other,
        };
        ran.map_err(|error| self.failed(error))
    }

    /// The same call by text instead of by hash.
    fn whole(&self, call: &Cmd) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(&self.text);
        // Behind the command's name and the hash.
        for arg in call.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }

    /// The error of a call of it.
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
