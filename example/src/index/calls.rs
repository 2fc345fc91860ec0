//! The calls: waited, fire and forget, many in flight, and streamed.

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use redcall_client::{CallError, Client, Receipt, Update};
use serde::Deserialize;
use serde_json::json;

use super::answers::{Counted, Hashed, Summary};
use super::bar::Bar;
use super::tally::Tally;
use crate::walk::kind;

/// Maximum number of calls in flight.
const IN_FLIGHT: usize = 256;
/// Maximum number of documents whose words are counted: each starts a process.
const DOCUMENTS: usize = 20;
/// Extensions of documents.
const TEXT: [&str; 4] = [".md", ".rst", ".adoc", ".txt"];

/// Answer of `add`.
#[derive(Deserialize)]
struct Sum {
    answer: i64,
}

/// A progress frame of `summarize`.
#[derive(Deserialize)]
struct Progress {
    done: u64,
    total: u64,
}

/// Result of the calls for one file.
enum Answered<'a> {
    Hashed(&'a str, Result<Hashed, CallError>),
    Counted(&'a str, Result<Counted, CallError>),
}

/// One waited call, as in the first example of the README: 1 + 2.
pub(super) async fn add(client: &Client) -> Result<i64, CallError> {
    let sum: Sum = client.call_and_wait("add", &json!({ "a": 1, "b": 2 })).await?.json()?;
    Ok(sum.answer)
}

/// Fire and forget.
pub(super) async fn log_visit(client: &Client, files: usize) -> Result<Receipt, CallError> {
    client.call("log_visit", &json!({ "visitor": "example", "files": files })).await
}

/// One call per file and another per document, hundreds of them in flight.
pub(super) async fn call_jobs(client: &Client, files: &[String], tally: &mut Tally) {
    let text = |path: &&String| TEXT.contains(&kind(path).as_str());
    let documents: Vec<&String> = files.iter().filter(text).take(DOCUMENTS).collect();
    let bar = Bar::new("files", files.len() + documents.len());
    // Processes take longest to start, so they come first and run alongside the rest.
    let count = documents.into_iter().map(|path| (true, path.as_str()));
    let hash = files.iter().map(|path| (false, path.as_str()));
    let results = iter(count.chain(hash)).map(|(words, path)| async move {
        let data = json!({ "path": path });
        if words {
            let answer = client.call_and_wait("word_count", &data).await;
            Answered::Counted(path, answer.and_then(|answer| answer.json()))
        } else {
            let answer = client.call_and_wait("hash_file", &data).await;
            Answered::Hashed(path, answer.and_then(|answer| answer.json()))
        }
    });
    let mut results = results.buffer_unordered(IN_FLIGHT);
    while let Some(result) = results.next().await {
        match result {
            Answered::Hashed(path, answer) => tally.hashed(path, answer),
            Answered::Counted(path, answer) => tally.counted(path, answer),
        }
        bar.advance();
    }
}

/// A streamed call: its frames move the bar, the last one is the answer.
pub(super) async fn summarize(client: &Client) -> Result<Summary, CallError> {
    let mut updates = client.request("summarize").stream().await?;
    let bar = Bar::new("summary", 0);
    let mut frames = 0;
    while let Some(update) = updates.next().await {
        match update? {
            Update::Progress(frame) => {
                let frame = serde_json::from_str(frame.get());
                let Progress { done, total } = frame.map_err(CallError::Decode)?;
                bar.set(done, total);
                frames += 1;
            }
            // Its next frames report progress from the start.
            Update::Restarted { .. }
            | Update::Pending
            | Update::Deferred { .. }
            | Update::Chunk(_) => {}
            Update::Done(answer) => return answer.json().map(|it| Summary { frames, ..it }),
        }
    }
    // A stream ends with its answer or with an error.
    Err(CallError::TimedOut)
}
