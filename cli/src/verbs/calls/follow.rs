//! `redcall follow RESPONSE_KEY`.

use std::time::Duration;

use clap::Args;
use redcall_client::Client;

use crate::verb::ClientVerb;
use crate::verbs::calls::call::{failed, print_all};
use redcall_common::failure::Failure;
use redcall_common::signals::until_interrupted;

/// The request to follow.
#[derive(Args)]
pub(crate) struct Follow {
    /// Response key of the request, such as redcall:{default}:response:ID
    response_key: String,
    /// First frame to print, of the current attempt; an error if it was trimmed already
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: u64,
    /// Give up after this time without a frame, such as 30s; else the setting client.timeout
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl ClientVerb for Follow {
    async fn run(self, client: &Client, _: bool) -> Result<(), Failure> {
        let (key, from) = (&self.response_key, self.from);
        let printing = async {
            let updates = match self.timeout {
                Some(timeout) => client.follow_timeout(key, from, timeout).await,
                None => client.follow(key, from).await,
            };
            print_all(updates.map_err(failed)?).await
        };
        until_interrupted(printing, "interrupted: the job continues").await
    }

    fn timeout(&mut self) -> Option<&mut Option<Duration>> {
        Some(&mut self.timeout)
    }

    /// The timeout applies to each frame.
    fn deducts_connecting(&self) -> bool {
        false
    }
}
