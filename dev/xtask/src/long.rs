//! `cargo xtask long NAME`: measurements and endurance runs that take too long for `test`.
//!
//! To add one: a file `long/NAME.rs` with a `run` function, and a line in [`ALL`].

mod attack;
mod chaos;
mod clocks;
mod doors;
mod events;
mod killed;
mod limits;
mod polls;
mod refusals;
mod schedules;
/// The servers of these runs, connections to them, and figures of processes.
mod stage {
    pub(super) mod process;
    pub(super) mod server;
    pub(super) mod wire;
}
mod stream;
/// Tests of the suite in their long forms, with figures.
mod suite {
    pub(super) mod lanes;
    pub(super) mod services;
}

use std::process::ExitCode;

use miette::miette;

use crate::workspace::Workspace;

/// One long run.
struct Long {
    name: &'static str,
    /// Its subject, and its duration.
    about: &'static str,
    run: Run,
}

enum Run {
    Plain(fn(&Workspace) -> miette::Result<ExitCode>),
    WithArgs(fn(&Workspace, &[String]) -> miette::Result<ExitCode>),
}

/// The registry.
const ALL: &[Long] = &[
    Long {
        name: "attack",
        about: "200 calls a second and a hostile neighbour, 8 min and a release build",
        run: Run::WithArgs(attack::run),
    },
    Long {
        name: "chaos",
        about: "60 kills, 10 restarts of Redis and more under load, and nothing lost, 6 min",
        run: Run::Plain(chaos::run),
    },
    Long {
        name: "fence",
        about: "chaos without the fence, which it must find, 5 min and a build of its own",
        run: Run::Plain(chaos::without_fence),
    },
    Long {
        name: "clocks",
        about: "ticks at each change of clocks, all zones, 2020 to 2030, 6 min, release build",
        run: Run::Plain(clocks::run),
    },
    Long {
        name: "doors",
        about: "the gateway's doors against the systems they replace, and hostile inputs, 8 min",
        run: Run::WithArgs(doors::run),
    },
    Long {
        name: "events",
        about: "a thousand events a second, 100 subscribers, one away, 31 s and a release build",
        run: Run::Plain(events::run),
    },
    Long {
        name: "lanes",
        about: "1,000 calls a second beside a handler that computes for three leases, 5 s",
        run: Run::Plain(suite::lanes::run),
    },
    Long {
        name: "limits",
        about: "the cost of each kind of limit, 2 min and a release build",
        run: Run::Plain(limits::run),
    },
    Long {
        name: "polls",
        about: "the instructions of Redis per poll of each kind, against a record, 3 min",
        run: Run::WithArgs(polls::run),
    },
    Long {
        name: "refusals",
        about: "the rate at which a worker refuses each kind of request, 2 min and a release build",
        run: Run::Plain(refusals::run),
    },
    Long {
        name: "schedules",
        about: "every tick once while workers are killed, 70 s",
        run: Run::Plain(schedules::run),
    },
    Long {
        name: "services",
        about: "10,000 executes of one counter whose worker is killed 20 times, 2 min",
        run: Run::Plain(suite::services::run),
    },
    Long {
        name: "stream",
        about: "100,000 parts to readers that stop and die, 1 min",
        run: Run::Plain(stream::run),
    },
];

/// The arguments of `long`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which one; without it, the names are listed.
    name: Option<String>,
    /// Of `attack`, `doors` and `polls`: which ones, and options; see `long attack --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs one by name, or lists them.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let Some(name) = &args.name else {
        println!("{}", list(ALL));
        return Ok(ExitCode::SUCCESS);
    };
    let Some(long) = ALL.iter().find(|long| long.name == name) else {
        return Err(miette!(help = list(ALL), "unknown long run `{name}`"));
    };
    match long.run {
        Run::WithArgs(run) => run(workspace, &args.args),
        Run::Plain(run) => match args.args.first() {
            Some(arg) => Err(miette!("`{arg}`: the long run `{name}` takes no arguments")),
            None => run(workspace),
        },
    }
}

fn list(all: &[Long]) -> String {
    if all.is_empty() {
        return "there are no long runs yet".to_owned();
    }
    let lines: Vec<String> =
        all.iter().map(|long| format!("{:<20} {}", long.name, long.about)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_names_all_long_runs_or_none() {
        assert_eq!(list(&[]), "there are no long runs yet");
        let soak =
            Long { name: "soak", about: "one hour", run: Run::Plain(|_| Ok(ExitCode::SUCCESS)) };
        assert_eq!(list(&[soak]), "soak                 one hour");
    }
}
