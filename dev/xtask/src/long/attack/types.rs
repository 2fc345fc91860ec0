//! A wrong type at every key of the queue, for a moment: the rows of docs/reference/keys.md.

use std::time::Duration;

use miette::miette;
use redcall_common::keys;

use super::run::Run;
use super::stage::calls::{ECHO, Job};
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};
use crate::long::stage::wire::Wire;

/// The duration of the wrong type.
const BROKEN: Duration = Duration::from_millis(400);

/// Jobs that together use most keys: one is tried again, one is limited by a field of its data.
const SETTINGS: &str = r#"
[jobs.again]
handler = "builtin:fail"
retries = { max = 1, backoff = "constant", base = "50ms" }

[jobs.limited]
handler = "builtin:echo"
limit = { key = "c", concurrency = 4, rate = "1000/s" }
"#;

const JOBS: [Job; 4] = [
    ECHO,
    Job { name: "again", data: "{}", fails: true },
    Job { name: "limited", data: r#"{"c":"x"}"#, fails: false },
    ECHO,
];

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    for what in kinds() {
        let name = format!("wrong type of {what}");
        let few = ["queue", "dead", "leases:<worker>", "schedule", "rotation:<name>"];
        if !run.wants(&name) || (run.args.short && !few.contains(&what.as_str())) {
            continue;
        }
        let (settings, jobs) = (SETTINGS.to_owned(), JOBS.to_vec());
        let rig = Rig::start(&run.worker, &Setup { settings, jobs, ..Setup::default() })?;
        run.note(rig.with_callers(&name, Bounds::default(), |rig| spoil(rig, &what))?);
    }
    Ok(())
}

/// The keys that one queue has, as the table writes them: no channels, none of a single request.
fn kinds() -> Vec<String> {
    let table = keys::table();
    let rows = table.lines().filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let what = cells.next()?.strip_prefix("`redcall:{queue}:")?.strip_suffix('`')?;
        let channel = cells.next()?.starts_with("channel");
        let single = ["<id>", "<client>", "<digest>", "<instance>", "…"];
        let named = !channel && !single.iter().any(|part| what.contains(part));
        (named && what != "state").then(|| what.to_owned())
    });
    rows.collect()
}

/// Puts another type at the key for a moment, three times.
fn spoil(rig: &Rig, what: &str) -> miette::Result<Figures> {
    let mut wire = rig.wire()?;
    let workers = wire.texts(&["ZRANGE", &rig.keys.workers(), "0", "0"])?;
    let [worker] = workers.as_slice() else { return Err(miette!("no worker is registered")) };
    let what = what.replace("<worker>", worker).replace("<name>", "limited").replace("<key>", "x");
    let key = format!("{}:{what}", rig.keys.base());
    for _ in 0..3 {
        let aside = format!("{key}:aside");
        let moved = exchange(&mut wire, &key, &aside)?;
        std::thread::sleep(BROKEN);
        match moved {
            true => wire.command(&["RENAME", &aside, &key])?,
            false => wire.command(&["DEL", &key])?,
        };
        std::thread::sleep(BROKEN);
    }
    std::thread::sleep(Duration::from_secs(1));
    Ok(Figures::default())
}

/// Renames `key` and puts another type there, in one step; returns whether the key existed.
fn exchange(wire: &mut Wire, key: &str, aside: &str) -> miette::Result<bool> {
    let script = "local kind = redis.call('TYPE', KEYS[1]).ok \
        if kind ~= 'none' then redis.call('RENAME', KEYS[1], KEYS[2]) end \
        if kind == 'string' or ARGV[1] == '1' then redis.call('RPUSH', KEYS[1], 'x') \
        else redis.call('SET', KEYS[1], 'x') end \
        return kind == 'none' and 0 or 1";
    // These are strings, also where there are none at this moment.
    let text = [":poll:", ":paused", ":rate:", ":worker:", ":durable"];
    let text = if text.iter().any(|part| key.contains(part)) { "1" } else { "0" };
    Ok(wire.number(&["EVAL", script, "2", key, aside, text])? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_keys_come_from_the_table() {
        let kinds = kinds();
        for kind in ["queue", "dead", "leases:<worker>", "limited:<name>:<key>", "throttled"] {
            assert!(kinds.iter().any(|one| one == kind), "{kind}: {kinds:?}");
        }
        assert!(!kinds.iter().any(|kind| kind.contains("<id>") || kind == "control"), "{kinds:?}");
    }
}
