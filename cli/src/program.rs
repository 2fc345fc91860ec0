//! The command line of `redcall`: the options of every verb, and the verbs.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use redcall_common::failure::Failure;

use crate::verb::{Options, Verb as _};
use crate::verbs::all_verbs;

/// The heading of the options of every verb.
const GLOBAL: &str = "Global options";

/// Call named jobs over Redis; inspect queues and workers.
///
/// Exit codes:
///   0              success
///   1              the call ended with an error, only a part was done, or doctor or chaos found
///                  a problem
///   2              invalid flags or settings
///   3              Redis cannot be reached
///   5              standard output cannot be written
///   129, 130, 143  ended by SIGHUP, SIGINT or SIGTERM; a waited call is cancelled, a followed
///                  job is not
///   141            the reader of a pipe has closed it; a waited call is cancelled
#[derive(Parser)]
#[command(name = "redcall", version, verbatim_doc_comment)]
pub(crate) struct Cli {
    /// Settings file (TOML, YAML or JSON); else REDCALL_SETTINGS, else ./redcall.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) settings: Option<PathBuf>,
    /// Redis URL, instead of the settings' `redis.url`
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    pub(crate) redis: Option<String>,
    /// Print JSON, also for errors
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Makes the verbs of the program from the rows of the table.
macro_rules! program {
    ($($(#[$attribute:meta])* $name:ident($verb:ty) $(console($($console:tt)*))?;)*) => {
        #[derive(Subcommand)]
        pub(crate) enum Verb {
            $($(#[$attribute])* $name($verb),)*
        }

        impl Verb {
            /// Runs the verb and returns the exit code.
            pub(crate) async fn start(self, options: &Options) -> Result<u8, Failure> {
                match self {
                    $(Self::$name(verb) => verb.start(options).await,)*
                }
            }
        }
    };
}

all_verbs!(program);
