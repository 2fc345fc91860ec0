//! The rights at Redis that each kind of program needs: commands, keys, channels.
//!
//! The commands of scripts are read from the scripts, so that the lists stay complete.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::ops::scripts;
pub use crate::script::Role;
use crate::script::Script;
use redcall_common::keys::QueueKeys;

/// A right that the user lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingRight {
    /// As `ACL SETUSER` takes it: `+hset`, `~redcall:{default}:*`.
    pub rule: String,
    /// `true` if requests cannot be processed without it; otherwise something is slower, or less is
    /// known.
    pub is_needed: bool,
}

/// Every connection: its first commands, scripts, clock, and closing a connection that was given
/// up.
const ALL: &[&str] = &[
    "client|id",
    "client|kill",
    "client|list",
    "client|setname",
    "client|unblock",
    "eval",
    "evalsha",
    "expire",
    "info",
    "pexpire",
    "script|load",
    "ssubscribe",
    "time",
    "type",
    "xadd",
    "zadd",
    "zrange",
    "zremrangebyrank",
];

const WORKER: &[&str] =
    &["blmove", "client|reply", "config|get", "exists", "hgetall", "hmget", "zmscore"];

/// Inspection of a queue, by `redcall queues` and for metrics.
const QUEUES: &[&str] =
    &["exists", "hlen", "hvals", "lindex", "llen", "ping", "smembers", "xlen", "zcard", "zrange"];

const CLIENT: &[&str] = &[
    "command|info",
    "exists",
    "hget",
    "hmget",
    "lindex",
    "llen",
    "lrange",
    "lrem",
    "ping",
    "rpush",
    "scan",
    "set",
    "sunsubscribe",
    "unlink",
    "wait",
    "xack",
    "xread",
    "zcard",
    "zcount",
];

const ADMIN: &[&str] = &["config|get", "get", "pttl", "scan", "xdel"];

/// Programs work without these. Notifications are only faster than polling the keys; elements of
/// unknown size are read one by one; polls at short intervals take the place of blocked pops; the
/// rest is for inspection.
const USEFUL: &[&str] = &[
    "client|reply",
    "client|kill",
    "client|list",
    "client|unblock",
    "command|info",
    "config|get",
    "hlen",
    "hvals",
    "info",
    "ping",
    "scan",
    "smembers",
    "spublish",
    "type",
    "wait",
    "xlen",
    "zremrangebyrank",
    "memory|usage",
];

/// Commands of scripts whose names are computed at run time.
const CHOSEN: &[(&str, &[&str])] = &[("letters", &["xrange", "xrevrange"])];

impl Role {
    /// Returns the commands that it uses, in lower case and sorted; `a|b` for a subcommand.
    #[must_use]
    pub fn commands(self) -> &'static [String] {
        // Workers check their rights again and again, and the scripts stay the same.
        static KNOWN: [OnceLock<Vec<String>>; 3] = [const { OnceLock::new() }; 3];
        let at = match self {
            Self::Worker => 0,
            Self::Client => 1,
            Self::Admin => 2,
        };
        KNOWN[at].get_or_init(|| self.read_commands())
    }

    /// Reads them from the scripts.
    fn read_commands(self) -> Vec<String> {
        let own: &[&[&str]] = match self {
            Self::Worker => &[WORKER, QUEUES],
            Self::Client => &[CLIENT],
            Self::Admin => &[CLIENT, QUEUES, ADMIN],
        };
        let own = own.iter().copied().flatten().chain(ALL);
        let mut all: BTreeSet<String> = own.map(|command| (*command).to_owned()).collect();
        for script in scripts() {
            if self.runs(script) {
                all.extend(commands_of(script.text()));
                let chosen = CHOSEN.iter().filter(|(name, _)| *name == script.name());
                all.extend(chosen.flat_map(|(_, of)| of.iter().map(|name| (*name).to_owned())));
            }
        }
        all.into_iter().collect()
    }

    /// Returns `true` if it calls the script of this name.
    #[must_use]
    pub fn calls(self, script: &str) -> bool {
        scripts().into_iter().any(|of| of.name() == script && self.runs(of))
    }

    fn runs(self, script: &Script) -> bool {
        let is_own = |role: &Self| *role == self || (self == Self::Admin && *role == Self::Client);
        script.callers().iter().any(is_own)
    }

    /// Returns the command that creates a user with exactly these rights, for keys that begin with
    /// `prefix`.
    #[must_use]
    pub fn acl_line(self, user: &str, prefix: &str) -> String {
        let commands: Vec<String> =
            self.commands().iter().map(|command| format!("+{command}")).collect();
        let commands = commands.join(" ");
        format!("ACL SETUSER {user} on >SECRET ~{prefix}:* &{prefix}:* {commands}")
    }
}

/// Returns the names of the commands that a script runs: upper-case names in front of arguments,
/// also those in calls of its own functions that run commands.
fn commands_of(text: &str) -> BTreeSet<String> {
    text.split('(').skip(1).filter_map(command_of).collect()
}

/// Returns the command of a call whose arguments begin with `text`; `None` if it is computed.
fn command_of(text: &str) -> Option<String> {
    let mut words = text.trim_start().strip_prefix('\'')?.splitn(4, '\'');
    let name = words.next().filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase()))?;
    let name = Some(name.to_ascii_lowercase()).filter(|name| !name.is_empty())?;
    if !matches!(name.as_str(), "memory" | "xinfo" | "xgroup") {
        return Some(name);
    }
    let part = words.nth(1)?.to_ascii_lowercase();
    Some(format!("{name}|{part}"))
}

/// Formats a command for `rights.lua`, with the maximum number of arguments.
pub(crate) fn as_checked(command: &str) -> String {
    match command {
        "evalsha" | "eval" => format!("{command} x 1 K"),
        "spublish" => "spublish C x".to_owned(),
        "ssubscribe" | "sunsubscribe" => format!("{command} C"),
        "xread" => "xread STREAMS K 0".to_owned(),
        "xreadgroup" => "xreadgroup GROUP x x STREAMS K >".to_owned(),
        _ if is_keyless(command) => command.replace('|', " "),
        // Some take only keys: all words are one.
        _ => format!("{} K K K K K K", command.replace('|', " ")),
    }
}

fn is_keyless(command: &str) -> bool {
    const KEYLESS: &[&str] = &["info", "ping", "scan", "time", "wait"];
    let container = command.split('|').next().unwrap_or_default();
    KEYLESS.contains(&command) || matches!(container, "client" | "command" | "config" | "script")
}

fn is_of_channels(command: &str) -> bool {
    matches!(command, "spublish" | "ssubscribe" | "sunsubscribe")
}

/// Returns the rights that are missing on one queue if Redis refuses these of `commands`.
pub(crate) fn missing(
    keys: &QueueKeys,
    commands: &[String],
    refused: &BTreeSet<&str>,
) -> BTreeSet<MissingRight> {
    let is_keyed = |command: &str| !is_keyless(command) && !is_of_channels(command);
    let mut keyed = commands.iter().filter(|command| is_keyed(command));
    // Redis does not report whether the command or the key was refused.
    let no_key = keyed.all(|command| refused.contains(command.as_str()));
    let rules = refused.iter().filter(|command| !(no_key && is_keyed(command)));
    let right = |command: &&str| MissingRight {
        rule: match is_of_channels(command) {
            true => format!("+{command} (or &{}:*)", keys.base()),
            false => format!("+{command}"),
        },
        is_needed: !USEFUL.contains(command),
    };
    let mut missing: BTreeSet<MissingRight> = rules.map(right).collect();
    if no_key {
        missing.insert(MissingRight { rule: format!("~{}:*", keys.base()), is_needed: true });
    }
    missing
}

/// Returns the users as docs/reference/protocol.md shows them.
#[must_use]
pub fn table() -> String {
    let lines = [
        (Role::Worker, "redcall-worker"),
        (Role::Client, "redcall-client"),
        (Role::Admin, "redcall-admin"),
    ]
    .map(|(role, user)| role.acl_line(user, "redcall"));
    let mut out = String::from("```text\n");
    for line in lines {
        let mut width = 0;
        for (at, word) in line.split(' ').enumerate() {
            if width + word.len() > 98 {
                out.push_str("\n  ");
                width = 2;
            } else if at > 0 {
                out.push(' ');
            }
            out.push_str(word);
            width += word.len() + 1;
        }
        out.push_str("\n\n");
    }
    out.truncate(out.len() - 1);
    out.push_str("```\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use redcall_common::keys::Keys;

    #[test]
    fn script_has_the_role_of_its_folder() {
        let folder = |name: &str| {
            let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lua/scripts");
            let files = std::fs::read_dir(format!("{scripts}/{name}")).unwrap();
            let names = files.map(|file| file.unwrap().path().file_stem().unwrap().to_owned());
            names.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut count = 0;
        for (name, role) in
            [("worker", Role::Worker), ("client", Role::Client), ("admin", Role::Admin)]
        {
            for script in folder(name) {
                assert!(role.calls(&script), "{name}/{script}");
                count += 1;
            }
        }
        for script in folder("shared") {
            let callers = [Role::Worker, Role::Client, Role::Admin].map(|role| role.calls(&script));
            assert!(callers.iter().filter(|calls| **calls).count() > 1, "{script}");
            count += 1;
        }
        // Some files are two scripts, with and without writes.
        let names: BTreeSet<&str> = scripts().iter().map(|script| script.name()).collect();
        assert_eq!(count, names.len());
    }

    #[test]
    fn commands_are_read_from_the_scripts() {
        let text = "x = redis.call('HGET', k)\nredis.pcall(\n  'XINFO', 'STREAM', k)";
        assert_eq!(commands_of(text), ["hget", "xinfo|stream"].map(str::to_owned).into());
        let worker = Role::Worker.commands();
        for command in ["hsetnx", "lmove", "spublish", "time", "zrangebyscore", "blmove"] {
            assert!(worker.iter().any(|known| known == command), "{command}: {worker:?}");
        }
        // In a function of the script; and only to undo a step.
        for command in ["zrandmember", "lrem", "rpop", "xdel"] {
            assert!(worker.iter().any(|known| known == command), "{command}: {worker:?}");
        }
        let admin = Role::Admin.commands();
        assert!(Role::Client.commands().iter().all(|command| admin.contains(command)));
    }

    #[test]
    fn computed_command_is_listed() {
        for script in scripts() {
            let calls =
                script.text().split("redis.call(").chain(script.text().split("redis.pcall("));
            // A function that passes its arguments on, and the undo of a noted step, whose command
            // is named where it is noted.
            let handed_on =
                |call: &str| ["...", "command, key"].iter().any(|of| call.starts_with(of));
            let calls = calls.skip(1).filter(|call| !call.starts_with("#!") && !handed_on(call));
            let chosen = calls.filter(|call| command_of(call).is_none()).count();
            let is_known = CHOSEN.iter().any(|(name, _)| *name == script.name());
            assert!(chosen == 0 || is_known, "{}", script.name());
        }
    }

    #[test]
    fn key_refused_for_all_commands_is_reported_as_missing() {
        let keys = Keys::new("redcall").of("q");
        let commands = ["get", "hset", "spublish", "time"].map(str::to_owned);
        let rules = |refused: &[&str]| {
            let refused = refused.iter().copied().collect();
            let missing = missing(&keys, &commands, &refused).into_iter();
            missing.map(|right| right.rule).collect::<Vec<_>>()
        };
        assert_eq!(rules(&["hset"]), ["+hset"]);
        assert_eq!(rules(&["get", "hset"]), ["~redcall:{q}:*"]);
        assert_eq!(rules(&["spublish"]), ["+spublish (or &redcall:{q}:*)"]);
        assert_eq!(rules(&[]), [""; 0]);
    }
}
