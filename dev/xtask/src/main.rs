//! The project's own commands, as `cargo xtask NAME`.
//!
//! One file per command, and shared modules: `workspace.rs` (paths, running cargo),
//! `checks/steps.rs` (several checks, one verdict), `words/language.rs` (avoided words), and
//! `programs/`: `redis_server.rs`, `valgrind.rs`, `python.rs` and `node.rs` (programs that a fresh
//! machine may lack), `competitors.rs` (adapters of other job queues), `apt.rs` and `draft.rs`
//! (unpacking). Nothing here is part of the product; only here may anything be downloaded.

mod bench;
/// Checks of the workspace: format, lints, tests, fuzz targets.
mod checks {
    pub(crate) mod check;
    pub(crate) mod fuzz;
    pub(crate) mod steps;
    pub(crate) mod test;
}
mod demo;
mod generate;
mod instructions;
mod long;
/// Programs that a fresh machine may lack.
mod programs {
    pub(crate) mod apt;
    pub(crate) mod competitors;
    pub(crate) mod draft;
    pub(crate) mod node;
    pub(crate) mod python;
    pub(crate) mod redis_server;
    pub(crate) mod valgrind;
}
mod tidy;
mod words;
mod workspace;

use std::process::ExitCode;

use checks::{check, fuzz, test};
use clap::Parser;
use workspace::Workspace;

/// Commands for working on Redcall.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Run the example end to end, on a private Redis unless REDIS_URL names one.
    Demo(demo::Args),
    /// Run all tests: unit, integration, documentation, and tidy.
    Test(test::Args),
    /// Measure Redcall and the baselines that Redis sets, side by side, in a `dist` build.
    Bench(bench::Args),
    /// Count the instructions of a call's inner parts, and compare with the committed counts.
    Instructions(instructions::Args),
    /// Check format, lints, documentation, house rules and generated parts, without running tests.
    Check,
    /// Run the fuzz targets for a while, from the corpus in dev/fuzz/corpus.
    Fuzz(fuzz::Args),
    /// Check the house rules that no compiler knows.
    Tidy,
    /// Count the words that the project avoids, per folder.
    Words(words::Args),
    /// Run a long measurement by name; without a name, list them.
    Long(long::Args),
    /// Renew the generated parts of the documents.
    Gen(generate::Args),
}

fn main() -> miette::Result<ExitCode> {
    let task = Task::parse();
    let workspace = Workspace::find()?;
    match task {
        Task::Demo(args) => demo::run(&workspace, &args),
        Task::Test(args) => test::run(&workspace, &args),
        Task::Bench(args) => bench::run(&workspace, &args),
        Task::Instructions(args) => instructions::run(&workspace, &args),
        Task::Check => check::run(&workspace),
        Task::Fuzz(args) => fuzz::run(&workspace, &args),
        Task::Tidy => tidy::run(&workspace),
        Task::Words(args) => words::run(&workspace, &args),
        Task::Long(args) => long::run(&workspace, &args),
        Task::Gen(args) => generate::run(&workspace, &args),
    }
}
