//! From messages to requests of a service, and to their replies.

use redcall_client::{Code, RequestBuilder, Service, ServiceOp};
use redcall_common::settings::BgpySettings;
use serde::Serialize;
use tokio::time::timeout;

use super::reply::Reply;
use super::wire::message::{Call, Tasks};
use crate::door::{Door, Failure};

/// The text of a conflict of INIT.
const ALREADY: &str = "Already initialized.";
/// The text of a conflict of EXEC and EXIT.
pub(super) const NOT_YET: &str = "Not yet initialized.";

/// The calls of one connection.
pub(super) struct Calls<'a> {
    door: &'a Door,
    service: Service,
    name: &'a str,
    peer: &'a str,
}

/// The arguments of the task `init`.
#[derive(Serialize)]
struct InitArgs<'a> {
    init_task: &'a str,
    exec_task: &'a str,
    exit_task: &'a str,
}

impl<'a> Calls<'a> {
    pub(super) fn new(door: &'a Door, own: &'a BgpySettings, peer: &'a str) -> Self {
        let service = door.client().service(&own.service).instance(&own.instance);
        Self { door, service, name: &own.service, peer }
    }

    /// Creates the state.
    pub(super) async fn initialize(&self, [init_task, exec_task, exit_task]: &Tasks) -> Reply {
        let args = InitArgs { init_task, exec_task, exit_task };
        match self.waited(ServiceOp::Init, &args).await {
            Ok(_answer) => Reply::done("Initialization successful."),
            // bgpy's own error has no code.
            Err(failure) if failure.code == Code::Conflict => Reply::refused(ALREADY),
            Err(failure) => Reply::failed(&failure, ALREADY),
        }
    }

    /// Runs a task and waits for its answer. Dropping the future withdraws it.
    pub(super) async fn run(&self, call: &Call) -> Reply {
        let run = async {
            let args = call.args.as_ref().map_err(|refused| self.not_plain(refused))?;
            self.waited(call.op, args).await
        };
        match run.await {
            Ok(response) => Reply::answer(&response.data),
            Err(failure) => Reply::failed(&failure, NOT_YET),
        }
    }

    /// Enqueues a task, without a limit of its time. An error later is a dead letter.
    pub(super) async fn enqueue(&self, call: &Call) -> Result<(), Reply> {
        let failed = |failure| Reply::failed(&failure, NOT_YET);
        let args = call.args.as_ref();
        let args = args.map_err(|refused| failed(self.not_plain(refused)))?;
        let limit = self.door.settings().timeout;
        let enqueue = async {
            let state = self.service.state(limit).await;
            if state.map_err(|error| failed(self.rejected(error.into())))?.is_none() {
                self.rejected(Failure::new(Code::Conflict, NOT_YET));
                return Err(Reply::refused(NOT_YET));
            }
            let request = self.request(call.op, args).map_err(failed)?;
            let sent = self.door.send(self.name, self.peer, request).await;
            sent.map(drop).map_err(failed)
        };
        timeout(limit, enqueue).await.unwrap_or_else(|_| {
            let message = "Redis did not confirm the request; it may be queued";
            Err(failed(self.rejected(Failure::new(Code::Unavailable, message))))
        })
    }

    async fn waited<T: Serialize + ?Sized>(
        &self,
        op: ServiceOp,
        args: &T,
    ) -> Result<redcall_client::Response, Failure> {
        let request = self.request(op, args)?.timeout(self.door.settings().timeout);
        self.door.wait(self.name, self.peer, request).await
    }

    fn request<T: Serialize + ?Sized>(
        &self,
        op: ServiceOp,
        args: &T,
    ) -> Result<RequestBuilder, Failure> {
        let request = self.service.request(op, args);
        let request = request.map_err(|error| self.rejected(error.into()))?;
        Ok(request.header("gateway", self.door.name()).header("peer", self.peer))
    }

    /// The arguments are more than plain data.
    fn not_plain(&self, refused: &crate::pickle::Refused) -> Failure {
        self.rejected(Failure::new(Code::InvalidData, refused.to_string()))
    }

    fn rejected(&self, failure: Failure) -> Failure {
        self.door.rejected(self.name, self.peer, failure)
    }
}
