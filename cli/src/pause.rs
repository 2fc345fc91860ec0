//! `redcall pause QUEUE…` and `redcall resume QUEUE…`.

use clap::Args;
use redcall_client::{CallError, Client, Code};
use redcall_common::report::Problem;

use crate::{Failure, json};

/// Which queues.
#[derive(Args)]
pub(crate) struct Queues {
    /// The queues' names
    #[arg(required = true, value_name = "QUEUE")]
    queues: Vec<String>,
}

impl Queues {
    pub(crate) async fn pause(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        for queue in &self.queues {
            client.pause(queue).await.map_err(failed)?;
        }
        self.say("paused", as_json);
        Ok(())
    }

    pub(crate) async fn resume(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        for queue in &self.queues {
            client.resume(queue).await.map_err(failed)?;
        }
        self.say("resumed", as_json);
        Ok(())
    }

    fn say(&self, done: &str, as_json: bool) {
        if as_json {
            println!("{}", serde_json::json!({ done: self.queues }));
        } else {
            self.queues.iter().for_each(|queue| println!("{queue}: {done}"));
        }
    }
}

/// Why a queue or its dead letters could not be changed.
pub(crate) fn failed(error: CallError) -> Failure {
    let (exit, help) = match error.code() {
        Code::InvalidRequest => (2, "A queue's name has 1 to 64 of [A-Za-z0-9_.-]."),
        _ => (3, "Doing it again is harmless."),
    };
    let json = json(error.code().as_str(), &error.to_string());
    Failure { problems: vec![Problem::of(&error).help(help)], code: exit, json }
}
