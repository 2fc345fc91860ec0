//! `redcall follow RESPONSE_KEY`.

use std::time::Duration;

use clap::Args;
use redcall_client::Client;

use crate::Failure;
use crate::call::{failed, print_all, until_interrupted};

/// What to follow, and from where.
#[derive(Args)]
pub(crate) struct Follow {
    /// Where its frames lie, such as redcall:{default}:response:ID
    response_key: String,
    /// Begin with this frame of the run that is going on; if it was read already, that is an error
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: u64,
    /// How long to wait for each next frame, such as 30s; else the setting client.timeout
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl Follow {
    /// Sets how long each frame is waited for, if nothing does.
    pub(crate) fn within(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = self.timeout.or(timeout);
        self
    }

    /// How long it waits for the first frame, if that is set; connecting counts.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let (key, from) = (&self.response_key, self.from);
        let printing = async {
            let updates = match self.timeout {
                Some(within) => client.follow_within(key, from, within).await,
                None => client.follow(key, from).await,
            };
            print_all(updates.map_err(failed)?).await
        };
        until_interrupted(printing, "interrupted: the job goes on").await
    }
}
