//! `redcall service NAME initialize | execute | terminate | state`.

use std::time::Duration;

use clap::{Args, Subcommand};
use redcall_client::{Client, Code, ServiceOp};
use redcall_common::name::{is_instance, is_plain};
use redcall_common::output as out;
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use crate::call::{RAN, failed, read_json, unless_interrupted, until_interrupted};
use crate::{Failure, json};

/// How long Redis is waited for, where no worker is asked.
const WITHIN: Duration = Duration::from_secs(10);

/// Which instance of which service, and what is asked of it.
#[derive(Args)]
pub(crate) struct Service {
    /// The service, a [services.NAME] of its workers' settings
    #[arg(value_parser = named)]
    name: String,
    /// The instance's key; without it the one that has none
    #[arg(long, global = true, value_name = "KEY", default_value = "", hide_default_value = true,
        value_parser = keyed)]
    instance: String,
    /// How long to care, such as 500ms, 30s, 10m; connecting counts
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(subcommand)]
    what: What,
}

/// What an instance is asked.
#[derive(Subcommand)]
enum What {
    /// Make its first state; print the answer
    Initialize(Given),
    /// Do something with its state; print the answer
    Execute(Given),
    /// End it; print the answer
    Terminate(Given),
    /// Print its state, without asking a worker
    State,
}

/// What its task gets.
#[derive(Args)]
struct Given {
    /// The arguments as JSON; `-` reads them from stdin
    #[arg(default_value = "null", allow_negative_numbers = true)]
    args: String,
}

fn named(text: &str) -> Result<String, String> {
    let wrong = || "a service's name has 1 to 64 of [A-Za-z0-9_.-]".to_owned();
    is_plain(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn keyed(text: &str) -> Result<String, String> {
    let wrong = || "an instance's key has up to 64 of [A-Za-z0-9_.@-]".to_owned();
    is_instance(text).then(|| text.to_owned()).ok_or_else(wrong)
}

impl Service {
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        Ok(out::line(self.answer(client).await?).map_err(|error| error.after(RAN))?)
    }

    /// Service and instance.
    pub(crate) fn named(&self) -> (&str, &str) {
        (&self.name, &self.instance)
    }

    /// What its answer is: a state, or a task's result.
    pub(crate) fn kind(&self) -> &'static str {
        if matches!(self.what, What::State) { "state" } else { "result" }
    }

    /// Sets the timeout, if it has none.
    pub(crate) fn within(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = self.timeout.or(timeout);
        self
    }

    /// The time that runs from its beginning, if it has one.
    pub(crate) fn time(&mut self) -> Option<&mut Duration> {
        self.timeout.as_mut()
    }

    /// What the task answers, or the state.
    pub(crate) async fn answer(self, client: &Client) -> Result<Box<RawValue>, Failure> {
        let (task, given) = match self.what {
            What::Initialize(given) => (ServiceOp::Init, given),
            What::Execute(given) => (ServiceOp::Execute, given),
            What::Terminate(given) => (ServiceOp::Exit, given),
            What::State => {
                return until_interrupted(self.state(client), "interrupted").await;
            }
        };
        let args = read_json(&given.args)?;
        let service = client.service(&self.name).instance(&self.instance);
        let mut request = service.request(task, &args).map_err(failed)?;
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        let answer = async { request.wait().await.map_err(failed) };
        Ok(unless_interrupted(answer).await?.data)
    }

    async fn state(&self, client: &Client) -> Result<Box<RawValue>, Failure> {
        let service = client.service(&self.name).instance(&self.instance);
        let found = service.state(self.timeout.unwrap_or(WITHIN)).await.map_err(failed)?;
        let Some(found) = found else {
            let message = "the instance is not initialized, has ended, or was forgotten";
            let json = json(Code::NotFound.as_str(), message);
            return Err(Failure { problems: vec![Problem::new(message)], code: 1, json });
        };
        Ok(found.state)
    }
}
