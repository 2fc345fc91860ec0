//! A worker that kills itself once, at a step of a job's life. Run by the tests of kills.
//!
//! | variable | means |
//! |---|---|
//! | `MORTAL_FOLDER` | the folder of the file `effects`, in which it notes its steps |
//! | `MORTAL_DIES` | `before`, `in` or `after` its handler; unset: it does not die |
//!
//! The process that first creates the file `died` in the folder dies, so that the same program can
//! take over. All other configuration comes from the settings, as for every worker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot work must end loudly"
)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use redcall_testkit::eventually;
use redcall_worker::{
    FromRequest, HandlerError, IntoAnswer, Json, Request, Settings, Worker, handler_runtime,
    init_log,
};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn main() {
    let settings = Settings::load(None).unwrap();
    let _log = init_log(&settings.log);
    let worker = Worker::from_settings(settings).unwrap();
    let worker = worker.handler("job", job).handler("responds", responds);
    let worker = worker.handler("blocks", blocks).handler("defers", defers);
    let worker = worker.handler("panics", panics);
    let runtime = handler_runtime().unwrap();
    runtime.block_on(worker.run()).unwrap();
    runtime.shutdown_background();
}

fn folder() -> PathBuf {
    std::env::var_os("MORTAL_FOLDER").expect("MORTAL_FOLDER").into()
}

/// Dies if it is to die at this step, and no process has died yet.
fn reaches(step: &str) {
    let is_last = std::env::var("MORTAL_DIES").is_ok_and(|dies| dies == step);
    if is_last && File::create_new(folder().join("died")).is_ok() {
        kill_process(getpid(), Signal::KILL).unwrap();
    }
}

/// Writes down that a run has come this far, in one write: several programs share the file.
fn note(step: &str, request: &Request) {
    let line = format!("{step} {} {}\n", request.attempt(), std::process::id());
    let effects = OpenOptions::new().create(true).append(true).open(folder().join("effects"));
    effects.unwrap().write_all(line.as_bytes()).unwrap();
}

/// The step before the handler.
struct Before;

impl FromRequest for Before {
    fn from_request(_: &Request) -> Result<Self, HandlerError> {
        reaches("before");
        Ok(Self)
    }
}

/// The number of the run; and the step after the handler.
struct After(u32);

impl IntoAnswer for After {
    fn into_answer(self) -> Result<Box<RawValue>, HandlerError> {
        reaches("after");
        Json(self.0).into_answer()
    }
}

/// The first run waits for the file that the data names in `until`, if it does.
async fn gate(attempt: u32, data: Value) {
    let (Some(name), 1) = (data["until"].as_str(), attempt) else { return };
    let file = folder().join(name);
    let is_open = move || std::future::ready(file.exists().then_some(()));
    eventually("the gate to open", is_open).await;
}

/// Answers with the number of its run. Ends when it is cancelled.
async fn job(_: Before, request: Request, Json(data): Json<Value>) -> After {
    note("ran", &request);
    reaches("in");
    tokio::select! {
        () = gate(request.attempt(), data) => {}
        () = request.cancelled() => note("cancelled", &request),
    }
    After(request.attempt())
}

/// The same, but answers its own request with any token: it learns whether that was accepted.
async fn responds(request: Request, Json(data): Json<Value>) -> Result<Json<Value>, HandlerError> {
    note("ran", &request);
    // In a task of its own: a worker that continues may find its lease lost, and end the handler,
    // before the gate is checked again.
    let answering = tokio::spawn(async move {
        gate(request.attempt(), data).await;
        let counted = request.respond(&request.attempt()).await?;
        note(if counted { "settled" } else { "refused" }, &request);
        Ok::<_, HandlerError>(())
    });
    answering.await.map_err(|error| HandlerError::new(error.to_string()))??;
    Ok(Json(json!("not used")))
}

/// Puts its answer off, and leaves the token in a file.
async fn defers(_: Before, request: Request) -> Result<(), HandlerError> {
    note("ran", &request);
    let token = request.defer(&"soon", None).await?;
    // Written atomically, for readers.
    std::fs::write(folder().join("token.new"), token.reveal())?;
    std::fs::rename(folder().join("token.new"), folder().join("token"))?;
    reaches("in");
    Ok(())
}

/// Panics.
async fn panics() {
    panic!("as requested");
}

/// Keeps its thread until the process ends.
async fn blocks(request: Request) {
    note("blocks", &request);
    loop {
        std::thread::park();
    }
}
