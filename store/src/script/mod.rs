//! The scripts: their texts, their hashes, and running one.
//!
//! Scripts are addressed by hash, so that old and new workers run side by side during a deploy.
//! A script is declared next to its typed call, in a file of `ops/`.

pub(crate) mod parts;
mod place;
mod reading;
mod role;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};

use crate::driver::OrStore;
use crate::error::StoreError;

pub(crate) use place::wrong_types;
pub use reading::Reading;
pub use role::Role;

/// One script, including the shared prelude.
#[derive(Debug)]
pub(crate) struct Script {
    name: &'static str,
    inner: redis::Script,
    text: String,
    callers: &'static [Role],
    reader: Reader,
}

/// Reads a reply to this number of requests, as the script's typed call does.
pub(crate) type Reader = fn(Value, usize) -> Result<Reading, StoreError>;

/// How a script reacts if Redis has no memory left. Redis decides before the first line: no script
/// stops half-way.
#[derive(Clone, Copy)]
pub(crate) enum WhenFull {
    /// It adds work, and is refused.
    Refused,
    /// It runs: existing work must be processed and settled, or memory is never freed.
    Runs,
    /// It runs, but only reads: Redis refuses each of its writes.
    Reads,
}

/// Globals as variables outside of all levels: to read a global takes a search in a table.
const OUTER: &str = "local redis, KEYS, ARGV = redis, KEYS, ARGV\n";

/// Declares a script: its file in `lua/scripts/`, its reaction to a full Redis, the programs that
/// call it, and the reader of its reply, which [`crate::fuzzing`] uses.
///
/// `with` lists the parts in front of the script. Those after `and`, each in a function of that
/// name, are created only if the script calls it: a script creates all other functions at every
/// call.
///
/// Each `then` begins a function around the following parts and the script. Its list may contain
/// functions, `name { parts }`, also within each other. To create a function, Lua searches all
/// shared variables of the function around it for each variable that the new one uses, but finds
/// those from further out at once: the cost grows with the square of a level's size.
macro_rules! script {
    ($(#[doc = $doc:literal])+ $name:ident = $path:literal, $full:ident, of $($role:ident),+;
        $(with $($part:ident),+;)? $(and $function:ident $($rare:ident),+;)*
        $(then [$($inner:tt)+];)*
        read $reader:expr) => {
        $(#[doc = $doc])+
        pub(crate) static $name: std::sync::LazyLock<$crate::script::Script> =
            std::sync::LazyLock::new(|| {
                let parts: &[&str] = &[
                    $($($crate::script::parts::$part,)+)?
                    $(concat!("local function ", stringify!($function), "()\n"),
                        $($crate::script::parts::$rare,)+
                        "end\n",)*
                ];
                let levels: &[String] = &[$({
                    let mut level = String::new();
                    $crate::script::add_parts!(level; $($inner)+);
                    level
                },)*];
                let body = include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/src/lua/scripts/", $path, ".lua"
                ));
                let full = $crate::script::WhenFull::$full;
                let roles = &[$($crate::script::Role::$role),+];
                $crate::script::Script::new($path, full, roles, $reader, parts, levels, body)
            });
    };
}
pub(crate) use script;

/// Adds parts, and functions of parts, to a text.
macro_rules! add_parts {
    ($text:ident;) => {};
    ($text:ident; $function:ident { $($inner:tt)+ } $(, $($rest:tt)*)?) => {
        $text.push_str(concat!("local function ", stringify!($function), "()\n"));
        $crate::script::add_parts!($text; $($inner)+);
        $text.push_str("end\n");
        $($crate::script::add_parts!($text; $($rest)*);)?
    };
    ($text:ident; $part:ident $(, $($rest:tt)*)?) => {
        $text.push_str($crate::script::parts::$part);
        $($crate::script::add_parts!($text; $($rest)*);)?
    };
}
pub(crate) use add_parts;

impl Script {
    /// Builds a script from its body and its `parts`, which several scripts share; the prelude is
    /// in all. The parts of each level, and the body, are in a function inside that of the level
    /// before.
    pub(crate) fn new(
        path: &'static str,
        full: WhenFull,
        callers: &'static [Role],
        reader: Reader,
        parts: &[&str],
        levels: &[String],
        body: &str,
    ) -> Self {
        let first = match full {
            WhenFull::Refused => "#!lua",
            WhenFull::Runs => "#!lua flags=allow-oom",
            WhenFull::Reads => "#!lua flags=no-writes",
        };
        let prelude = parts::PRELUDE;
        let inner: String =
            levels.iter().map(|level| format!("return (function()\n{level}")).collect();
        let end = "end)()\n".repeat(levels.len());
        let inner = if inner.is_empty() { inner } else { OUTER.to_owned() + &inner };
        let parts = (parts.concat() + &inner).replace("<8,200 blanks>", &" ".repeat(8200));
        let text = format!("{first}\n{prelude}{parts}{body}{end}");
        let name = path.rsplit('/').next().unwrap_or(path);
        Self { name, inner: redis::Script::new(&text), text, callers, reader }
    }

    /// Returns the programs that call it.
    pub(crate) fn callers(&self) -> &'static [Role] {
        self.callers
    }

    /// Reads a reply to this number of requests.
    pub(crate) fn read(&self, reply: Value, count: usize) -> Result<Reading, StoreError> {
        (self.reader)(reply, count)
    }

    /// Returns its name, which is that of its file.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the whole script, as sent to Redis.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns a call by hash: keys first, then arguments.
    pub(crate) fn call(&self, keys: &[impl AsRef<str>]) -> Cmd {
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
    pub(crate) async fn run(
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
        match ran {
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed_at(conn, call, error).await),
        }
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
    pub(crate) fn failed(&self, error: redis::RedisError) -> StoreError {
        StoreError::of_driver(error).of_script(self.name)
    }

    /// Returns the same error with the place at which the script failed. Reads the types of the
    /// call's keys if one of them is wrong.
    pub(crate) async fn failed_at(
        &self,
        conn: &mut MultiplexedConnection,
        call: &Cmd,
        error: redis::RedisError,
    ) -> StoreError {
        let line = error.detail().and_then(|detail| place::line_of(&self.text, detail));
        let failed = self.failed(error);
        let keys = match failed.is_of_the_key() {
            true => wrong_types(conn, call).await,
            false => String::new(),
        };
        failed.at(&(line.unwrap_or_default() + &keys))
    }

    /// Loads the script into Redis.
    pub(crate) async fn load(&self, conn: &mut MultiplexedConnection) -> Result<(), StoreError> {
        tracing::debug!(script = self.name, "loading");
        redis::cmd("SCRIPT").arg("LOAD").arg(&self.text).exec_async(conn).await.or_store()?;
        Ok(())
    }
}

/// Returns `true` if Redis does not know the script, after a restart or a flush of scripts.
pub(crate) fn is_script_unknown(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Loads these scripts in one round trip, so that no call fails first.
pub(crate) async fn load_all(
    conn: &mut MultiplexedConnection,
    scripts: &[&'static Script],
) -> Result<(), StoreError> {
    let mut pipe = redis::pipe();
    for script in scripts {
        pipe.cmd("SCRIPT").arg("LOAD").arg(&script.text).ignore();
    }
    pipe.exec_async(conn).await.or_store()?;
    Ok(())
}
