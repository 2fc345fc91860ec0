//! `redcall service NAME initialize | execute | terminate | state`.

use std::time::Duration;

use clap::{Args, Subcommand};
use redcall_client::{Client, Code, ServiceOp};
use redcall_common::name::{is_instance, is_plain};
use redcall_common::output as out;
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use crate::verb::ClientVerb;
use crate::verbs::calls::call::{RAN, failed, read_json, unless_interrupted};
use redcall_common::failure::{Failure, json};
use redcall_common::signals::until_interrupted;

/// Timeout for Redis where no worker is involved.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);

/// The service, its instance and the operation.
#[derive(Args)]
pub(crate) struct Service {
    /// Name of the service: [services.NAME] in the settings of its workers
    #[arg(value_parser = named)]
    name: String,
    /// Key of the instance; without it, the instance without a key
    #[arg(long, global = true, value_name = "KEY", default_value = "", hide_default_value = true,
        value_parser = keyed)]
    instance: String,
    /// Give up waiting after this time, such as 500ms, 30s, 10m; includes connecting
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(subcommand)]
    what: What,
}

/// Operations on an instance.
#[derive(Subcommand)]
enum What {
    /// Create the state of the instance; print the answer
    Initialize(Given),
    /// Change the state of the instance; print the answer
    Execute(Given),
    /// End the instance; print the answer
    Terminate(Given),
    /// Print the state of the instance, without a worker
    State,
}

/// The arguments of a task.
#[derive(Args)]
struct Given {
    /// Arguments as JSON; `-` reads them from stdin
    #[arg(default_value = "null", allow_negative_numbers = true)]
    args: String,
}

fn named(text: &str) -> Result<String, String> {
    let wrong = || "expected a service name: 1 to 64 of [A-Za-z0-9_.-]".to_owned();
    is_plain(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn keyed(text: &str) -> Result<String, String> {
    let wrong = || "expected an instance key: at most 64 of [A-Za-z0-9_.@-]".to_owned();
    is_instance(text).then(|| text.to_owned()).ok_or_else(wrong)
}

impl ClientVerb for Service {
    async fn run(self, client: &Client, _: bool) -> Result<(), Failure> {
        Ok(out::line(self.answer(client).await?).map_err(|error| error.after(RAN))?)
    }

    fn timeout(&mut self) -> Option<&mut Option<Duration>> {
        Some(&mut self.timeout)
    }
}

impl Service {
    /// Returns service and instance.
    pub(crate) fn named(&self) -> (&str, &str) {
        (&self.name, &self.instance)
    }

    /// Returns the kind of its output: a state or a task's result.
    pub(crate) fn kind(&self) -> &'static str {
        if matches!(self.what, What::State) { "state" } else { "result" }
    }

    /// Returns the task's answer, or the state.
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
        let found = service.state(self.timeout.unwrap_or(STATE_TIMEOUT)).await.map_err(failed)?;
        let Some(found) = found else {
            let message = "the instance is not initialized, has ended, or has expired";
            let json = json(Code::NotFound.as_str(), message);
            return Err(Failure { problems: vec![Problem::new(message)], code: 1, json });
        };
        Ok(found.state)
    }
}
