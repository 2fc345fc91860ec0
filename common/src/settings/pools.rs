//! `[pools]`: processes that several jobs share.

use std::collections::BTreeMap;

use config::Value;

use super::forms::QUEUE;
use super::kinds::{self, ProcessSettings};
use super::program_env;
use super::section::Section;
use crate::name::is_plain;

const EXAMPLE: &str = "process = [\"python3\", \"redcall_process.py\", \"scorer\"]";
/// `[pools.NAME]`: processes that are shared by the jobs with `pool = "NAME"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// `process`: The command of each process, not through a shell.
    pub process: ProcessSettings,
}

/// Reads all pools of the `[pools]` table.
pub(super) fn read(mut section: Section<'_>) -> BTreeMap<String, PoolSettings> {
    let values = section.take_all();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut pools = BTreeMap::new();
    for (name, value) in values {
        if let Some(pool) = pool(&section, &name, value, &names) {
            pools.insert(name, pool);
        }
    }
    pools
}

/// Reads one pool; `None` if its mistakes leave nothing to run.
fn pool(pools: &Section<'_>, name: &str, value: Value, names: &[String]) -> Option<PoolSettings> {
    let example = format!("[pools.{}] with {EXAMPLE} below", name.escape_debug());
    let mut pool = Section::at(pools.context(), pools.child(name), value, &example)?;
    if !is_plain(name) {
        pool.wrong("is not a pool name", format!("a pool name is {QUEUE}"));
    }
    let has_process = pool.origin("process").is_some();
    let is_from_env = pool.is_from_env();
    // Without a process, its other keys are not a mistake of their own.
    let process = match has_process {
        true => kinds::process(&mut pool),
        false if is_from_env => {
            pool.overrides_nothing("pool", name, names);
            return None;
        }
        false => {
            pool.wrong("has no process", format!("add {EXAMPLE}"));
            let _ = pool.read("instances", |_| Ok(()));
            let _ = pool.read("start_timeout", |_| Ok(()));
            None
        }
    };
    let env = program_env::read(&mut pool, true);
    pool.finish();
    Some(PoolSettings { process: ProcessSettings { env, ..process? } })
}
