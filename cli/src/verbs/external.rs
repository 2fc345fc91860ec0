//! Verbs that are programs of their own, as those of git: `redcall chaos` starts `redcall-chaos`,
//! which lies next to this program or in a folder of `PATH`. So `redcall` contains no worker and no
//! load generator.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use redcall_common::failure::Failure;
use redcall_common::report::Problem;

use crate::verb::{Options, Verb};

/// The arguments of `redcall-bench`.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    external: External,
}

/// The arguments of `redcall-chaos`.
#[derive(Args)]
pub(crate) struct Chaos {
    #[command(flatten)]
    external: External,
}

impl Verb for Bench {
    async fn start(self, options: &Options) -> Result<u8, Failure> {
        Err(self.external.start("redcall-bench", options))
    }
}

impl Verb for Chaos {
    async fn start(self, options: &Options) -> Result<u8, Failure> {
        Err(self.external.start("redcall-chaos", options))
    }
}

/// The arguments of such a program.
#[derive(Args)]
struct External {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<OsString>,
}

impl External {
    /// Replaces this process by `program`, with the options that all verbs share. Returns only if
    /// it cannot be started.
    fn start(&self, program: &str, options: &Options) -> Failure {
        let Options { settings, redis, as_json } = options;
        let mut command = Command::new(path_of(program));
        if let Some(settings) = settings {
            command.arg("--settings").arg(settings);
        }
        if let Some(url) = redis {
            command.arg("--redis").arg(url);
        }
        if *as_json {
            command.arg("--json");
        }
        let error = command.args(&self.args).exec();
        let message = format!("{program} could not be started: {error}");
        let help = format!(
            "Install it next to `redcall`: `cargo install --git {} {program}`.",
            env!("CARGO_PKG_REPOSITORY")
        );
        Failure::of(Problem::new(message).help(help), "internal", 1)
    }
}

/// Returns the program next to this one if there is one, else its name, for a search in `PATH`.
fn path_of(program: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    let sibling = own.as_deref().and_then(|own| Some(own.parent()?.join(program)));
    sibling.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(program))
}
