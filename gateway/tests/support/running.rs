//! A gateway and a worker in this process.

use std::net::SocketAddr;

use redcall_gateway::{DoorAddress, Gateway, GatewayError, Stop};
use redcall_worker::{Worker, WorkerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A gateway in this process. Dropping it ends it at once.
pub(crate) struct RunningGateway {
    addresses: Vec<DoorAddress>,
    probes: Option<SocketAddr>,
    stop: watch::Sender<Stop>,
    task: JoinHandle<Result<(), GatewayError>>,
}

impl RunningGateway {
    pub(crate) fn start(gateway: Gateway, level: Stop) -> Self {
        let (addresses, probes) = (gateway.addresses(), gateway.probes());
        let (stop, stopped) = watch::channel(level);
        Self { addresses, probes, stop, task: tokio::spawn(gateway.run_until(stopped)) }
    }

    /// The address of the door `door` under `key`, such as `listen`.
    #[track_caller]
    pub(crate) fn address(&self, door: &str, key: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|at| at.door == door && at.key == key);
        found.unwrap_or_else(|| panic!("no {key} of {door}: {:?}", self.addresses)).address
    }

    /// The address of its probes, of `[admin] listen`.
    pub(crate) fn probes(&self) -> SocketAddr {
        self.probes.expect("admin.listen in the settings")
    }

    /// Requests its drain.
    pub(crate) fn drain(&self) {
        self.stop.send_replace(Stop::Drain);
    }

    /// Requests its drain, and waits for its end.
    pub(crate) async fn end(mut self) -> Result<(), GatewayError> {
        self.drain();
        (&mut self.task).await.expect("the gateway's task")
    }

    /// Ends it as a crash does: no drain.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Waits for its end, without a request for it.
    pub(crate) async fn ended(mut self) -> Result<(), GatewayError> {
        (&mut self.task).await.expect("the gateway's task")
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A worker in this process. Dropping it returns its jobs to their queues.
pub(crate) struct RunningWorker {
    stop: watch::Sender<redcall_worker::Stop>,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl RunningWorker {
    pub(crate) fn start(worker: Worker) -> Self {
        let (stop, stopped) = watch::channel(redcall_worker::Stop::No);
        Self { stop, task: tokio::spawn(worker.run_until(stopped)) }
    }

    /// Requests its drain, and waits for its end.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(redcall_worker::Stop::Drain);
        (&mut self.task).await.expect("the worker's task").expect("the worker");
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
