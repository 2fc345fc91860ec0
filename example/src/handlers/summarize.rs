//! `summarize`: a streamed job. It sends progress, then answers.

use std::collections::BTreeMap;
use std::path::Path;

use redcall_worker::{HandlerError, Json, ProgressError, Request, State};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::root::Root;
use crate::walk::{self, kind};

/// Maximum number of progress frames.
const STEPS: usize = 25;

/// A progress frame.
#[derive(Serialize)]
struct Progress {
    done: usize,
    total: usize,
}

/// Its answer.
#[derive(Default, Serialize)]
pub(crate) struct Summary {
    files: usize,
    bytes: u64,
    kinds: BTreeMap<String, Kind>,
}

#[derive(Default, Serialize)]
struct Kind {
    files: usize,
    bytes: u64,
}

/// `null` -> `{"done": 12, "total": 300}` …, then `{"files": 300, "bytes": …, "kinds": {…}}`
pub(crate) async fn summarize(
    request: Request,
    root: State<Root>,
) -> Result<Json<Summary>, HandlerError> {
    let dir = Path::new(root.dir()).to_owned();
    let files = spawn_blocking(move || walk::files(&root)).await?.files;
    let total = files.len();
    let mut summary = Summary::default();
    for batch in files.chunks(total.div_ceil(STEPS).max(1)) {
        let batch: Vec<_> = batch.iter().map(|file| (kind(file), dir.join(file))).collect();
        let sized = batch.into_iter();
        // A file deleted in the meantime counts as empty.
        let size = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
        let sizing = spawn_blocking(move || {
            sized.map(|(kind, path)| (kind, size(&path))).collect::<Vec<_>>()
        });
        for (kind, bytes) in sizing.await? {
            summary.add(kind, bytes);
        }
        match request.progress(&Progress { done: summary.files, total }).await {
            // Progress is optional: if it cannot be sent, the answer is sent anyway.
            Ok(())
            | Err(ProgressError::NotOwned | ProgressError::NoReader | ProgressError::Store(_)) => {}
            Err(
                error @ (ProgressError::TooLarge { .. }
                | ProgressError::TooDeep { .. }
                | ProgressError::Encode(_)),
            ) => return Err(error.into()),
        }
    }
    Ok(Json(summary))
}

impl Summary {
    fn add(&mut self, kind: String, bytes: u64) {
        let of_kind = self.kinds.entry(kind).or_default();
        for (files, sum) in
            [(&mut of_kind.files, &mut of_kind.bytes), (&mut self.files, &mut self.bytes)]
        {
            *files += 1;
            *sum += bytes;
        }
    }
}
