//! A worker whose handlers fail and log in unusual ways. Run by the tests of logs.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot work must end loudly")]

use std::error::Error;
use std::fmt;

use redcall_worker::{HandlerError, Json, Request, Settings, Worker, handler_runtime, init_log};
use serde_json::Value;
use tracing::Instrument as _;

fn main() {
    let settings = Settings::load(None).unwrap();
    let _log = init_log(&settings.log);
    let worker = Worker::from_settings(settings).unwrap();
    let worker =
        worker.handler("caused", caused).handler("explained", explained).handler("late", late);
    let worker = worker.handler("panics", panics).handler("reserved", reserved);
    let runtime = handler_runtime().unwrap();
    runtime.block_on(worker.run()).unwrap();
    runtime.shutdown_background();
}

/// An error over another one.
#[derive(Debug)]
struct Over(&'static str, Option<Box<Over>>);

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Over {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as &dyn Error)
    }
}

fn chain() -> Over {
    let inner = Over("no such table", None);
    let middle = Over("the query failed", Some(Box::new(inner)));
    Over("the report cannot be made", Some(Box::new(middle)))
}

/// Fails with an error that has causes.
async fn caused() -> Result<(), HandlerError> {
    Err(chain())?
}

/// Fails with a message of its own, and a cause for the log.
async fn explained() -> Result<(), HandlerError> {
    Err(HandlerError::new("come again tomorrow").caused_by(&chain()))
}

/// Fails after its answer.
async fn late(request: Request) -> Result<(), HandlerError> {
    request.respond(&1).await?;
    Err(chain())?
}

/// Panics.
async fn panics() {
    panic!("as requested");
}

/// Logs its data under every name that a line has itself, also twice, and in spans.
async fn reserved(Json(data): Json<Value>) {
    let text = data.as_str().unwrap_or_default();
    let span = tracing::info_span!("work", name = text, span = 1, message = text, level = "x");
    let logging = async {
        let message = text;
        let fields = &data;
        tracing::warn!(message, level = 1, timestamp = text, target = %text, ?fields, "{text}");
        tracing::info!(
            span = 1,
            spans = text,
            name = text,
            id = 7,
            repeated = 1,
            level_ = 2,
            level = 3
        );
        tracing::error!(begin = text, threadName = text, "log.target" = text, "{text} again");
    };
    // Made inside the first one, so that it is a part of it.
    let inner = async { logging.instrument(tracing::info_span!("inner", name = 2)).await };
    inner.instrument(span).await;
}
