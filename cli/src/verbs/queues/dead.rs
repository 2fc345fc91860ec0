//! `redcall dead list | show | retry | purge`.

mod change;
mod list;
mod selection;
mod show;

use clap::Subcommand;
use redcall_client::Client;

use crate::verb::ClientVerb;
use redcall_common::failure::Failure;

/// Verbs for dead letters.
#[derive(Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, the newest first
    List(list::List),
    /// Print one dead letter: its attempts and its data
    Show(show::Show),
    /// Requeue dead letters, each once, as fire-and-forget requests
    Retry(change::Change),
    /// Delete dead letters
    Purge(change::Change),
}

impl ClientVerb for Dead {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(client, as_json).await,
            Self::Show(show) => show.run(client, as_json).await,
            Self::Retry(change) => change.run(client, change::Kind::Retry, as_json).await,
            Self::Purge(change) => change.run(client, change::Kind::Purge, as_json).await,
        }
    }
}
