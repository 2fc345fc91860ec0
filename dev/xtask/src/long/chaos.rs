//! `cargo xtask long chaos` and `long fence`: `redcall chaos` for five minutes, and for half a one
//! with the fence taken out, which it must find.

use std::path::Path;
use std::process::{Command, ExitCode};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::tidy::files::{self, SourceFile};
use crate::workspace::{Workspace, run as succeeds, verdict};

/// The scripts that settle, each with the check that fences a lost lease, and its replacement.
const FENCES: &[(&str, &str, &str)] = &[
    (
        "store/src/lua/parts/poll/outcomes.lua",
        "if redis.call('HDEL', KEYS[3], id) == 0 then error(LOST, 0) end -- the fence",
        "redis.call('HDEL', KEYS[3], id)",
    ),
    (
        "store/src/lua/parts/poll/special.lua",
        "if redis.call('HDEL', KEYS[3], id) == 0 then error(LOST, 0) end -- the fence",
        "redis.call('HDEL', KEYS[3], id)",
    ),
    ("store/src/lua/parts/poll/outcomes.lua", "if not (lost and lost[i]) then", "if true then"),
    ("store/src/lua/scripts/worker/poll_fast.lua", "if ok and found == count then", "if ok then"),
    (
        "store/src/lua/scripts/worker/lane_settle.lua",
        "if held ~= 1 then return ARGV[1] .. (held == 0 and '0' or 'E') end",
        "",
    ),
    (
        "store/src/lua/scripts/worker/lane_poll.lua",
        "held == count and '1' or held == 0 and '0' or 'E'",
        "'1'",
    ),
];

/// Five minutes with the usual attacks: 60 kills, 15 stops, 10 restarts of Redis, 20 cuts.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    build(&mut workspace.cargo())?;
    let program = workspace.target_dir()?.join("debug").join("redcall");
    succeeds(Command::new(program).args(["chaos", "--duration", "5m"])).map(verdict)
}

/// The same in small, of a copy of these sources without the fence.
pub(super) fn without_fence(workspace: &Workspace) -> miette::Result<ExitCode> {
    let copy = workspace.target_dir()?.join("without-fence");
    copy_sources(workspace.root(), &copy)?;
    for (script, fence, without) in FENCES {
        let path = copy.join(script);
        let text = std::fs::read_to_string(&path).into_diagnostic()?;
        if !text.contains(fence) {
            return Err(miette!(
                help = "correct it in dev/xtask/src/long/chaos.rs",
                "{script} has no {fence}"
            ));
        }
        std::fs::write(&path, text.replace(fence, without)).into_diagnostic()?;
    }
    let mut cargo = workspace.cargo();
    // A folder of its own: these programs must not replace those of the workspace.
    cargo.current_dir(&copy).env("CARGO_TARGET_DIR", copy.join("target"));
    build(&mut cargo)?;
    let program = copy.join("target").join("debug").join("redcall");
    let mut chaos = Command::new(program);
    chaos.args(["chaos", "--duration", "30s", "--stops", "8", "--json"]);
    println!("> {chaos:?}");
    let report = chaos.output().into_diagnostic()?.stdout;
    let report: serde_json::Value = serde_json::from_slice(&report).into_diagnostic()?;
    println!("{report:#}");
    Ok(verdict(report["found"]["settled_twice"].as_u64() > Some(0)))
}

fn build(cargo: &mut Command) -> miette::Result<()> {
    match succeeds(cargo.args(["build", "--quiet", "-p", "redcall-cli", "-p", "redcall-chaos"]))? {
        true => Ok(()),
        false => Err(miette!("redcall could not be built")),
    }
}

/// An unchanged file keeps its modification time, so that it is not built again.
fn copy_sources(from: &Path, to: &Path) -> miette::Result<()> {
    for SourceFile { path, text } in files::read_all(from)? {
        let target = to.join(path);
        if std::fs::read_to_string(&target).is_ok_and(|there| there == text) {
            continue;
        }
        let write = || {
            std::fs::create_dir_all(target.parent().unwrap_or(to))?;
            std::fs::write(&target, text)
        };
        write().into_diagnostic().wrap_err_with(|| format!("{}", target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fence_is_in_its_script() {
        let workspace = Workspace::find().unwrap();
        for (script, fence, _) in FENCES {
            let text = std::fs::read_to_string(workspace.root().join(script)).unwrap();
            assert!(text.contains(fence), "{script} has no {fence}");
        }
    }
}
