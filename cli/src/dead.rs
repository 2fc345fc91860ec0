//! `redcall dead list | show | retry | purge`.

mod change;
mod list;
mod show;

use clap::{Args, Subcommand};
use redcall_client::{Client, Code, DeadSelection};

use redcall_common::failure::Failure;
use redcall_common::name::parse_queue;

/// Verbs for dead letters.
#[derive(Subcommand)]
pub(crate) enum Dead {
    /// List them, the newest first
    List(list::List),
    /// Print one: its attempts and its data
    Show(show::Show),
    /// Requeue them, each once, as new fire-and-forget requests
    Retry(change::Change),
    /// Delete them
    Purge(change::Change),
}

impl Dead {
    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(client, as_json).await,
            Self::Show(show) => show.run(client, as_json).await,
            Self::Retry(change) => change.run(client, change::Kind::Retry, as_json).await,
            Self::Purge(change) => change.run(client, change::Kind::Purge, as_json).await,
        }
    }
}

/// Selects dead letters that match all options given.
#[derive(Args)]
struct Which {
    /// Ids of requests, or of entries in the stream
    ids: Vec<String>,
    /// Queue of the dead letters
    #[arg(long, default_value = "default", value_parser = parse_queue)]
    queue: String,
    /// Only dead letters with this code, such as handler_failed
    #[arg(long, value_parser = code)]
    code: Option<Code>,
    /// Only dead letters of this job
    #[arg(long, value_name = "JOB")]
    name: Option<String>,
}

impl Which {
    fn selection(&self, limit: Option<u64>) -> DeadSelection {
        DeadSelection {
            ids: self.ids.clone(),
            code: self.code,
            name: self.name.clone(),
            limit,
            ..DeadSelection::default()
        }
    }
}

fn code(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| {
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        format!("the codes are {}", all.join(", "))
    })
}
