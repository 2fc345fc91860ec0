//! The door of the tests, and handlers that end when a test ends them.

use std::sync::Arc;

use redcall_worker::{HandlerError, Json, Request, Worker};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};

use crate::client::vectors;
use crate::support::{RunningWorker, Stage};

/// Settings of a door `scix` with the methods of the vectors, and one that calls a job.
pub(crate) fn door(more: &str) -> String {
    let (input, output) = ("TemplateInput.avsc", "TemplateOutput.avsc");
    let (input, output) = (vectors().join(input), vectors().join(output));
    let (input, output) = (input.display(), output.display());
    let fields = r#"
key = "hash"
status = "status"
follow = "task_args.persistence"
job = "template""#;
    format!(
        r#"
[gateways.scix]
protocol = "grpc-avro"
listen = "127.0.0.1:0"
{more}
[gateways.scix.methods.init]
path = "/templateaapi.TemplateInit/initTemplate"
does = "init"
request = "{input}"{fields}
[gateways.scix.methods.monitor]
path = "/templateaapi.TemplateMonitor/monitorTemplate"
does = "monitor"
request = "{input}"{fields}
[gateways.scix.methods.call]
path = "/templateaapi.TemplateCall/callTemplate"
does = "call"
job = "transform"
request = "{input}"
response = "{output}"
"#
    )
}

/// The runs of the job `template`.
pub(crate) struct Template {
    /// The data of each run, when it starts.
    pub(crate) started: mpsc::UnboundedReceiver<String>,
    ends: Arc<Semaphore>,
}

impl Template {
    /// Lets one run end.
    pub(crate) fn end_one(&self) {
        self.ends.add_permits(1);
    }
}

/// Adds the job `template`: a run reports its start, and ends at [`Template::end_one`].
/// It fails if the record's `ingest_type` is `fails`.
pub(crate) fn template(worker: Worker) -> (Worker, Template) {
    let (starts, started) = mpsc::unbounded_channel();
    let ends = Arc::new(Semaphore::new(0));
    let waits = ends.clone();
    let handler = move |request: Request| {
        let (starts, waits) = (starts.clone(), waits.clone());
        async move {
            let data = request.data().get().to_owned();
            let fails = data.contains("\"fails\"");
            // A test that reads no start has dropped its end.
            let _ = starts.send(data);
            waits.acquire().await.expect("never closed").forget();
            match fails {
                true => Err(HandlerError::new("the record cannot be harvested")),
                false => Ok(Json(RawValue::from_string("null".to_owned()).expect("JSON"))),
            }
        }
    };
    (worker.handler("template", handler), Template { started, ends })
}

/// Starts the worker of a stage with the jobs of [`template`].
pub(crate) async fn worker(stage: &Stage) -> (RunningWorker, Template) {
    stage.worker_with(stage.settings(""), template).await
}
