//! The stream of a job's states: each once, in order.

use std::sync::Arc;

use redcall_client::{Code, JobState, StatusStream};
use redcall_common::settings::GrpcDoes;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::door::{Door, Failure};
use crate::grpc_avro::method::Method;
use crate::grpc_avro::service::unfit;
use crate::grpc_avro::wire::status::{GrpcCode, Status};

/// A job that is followed to its end.
pub(crate) struct Follow {
    pub(crate) door: Arc<Door>,
    pub(crate) method: Arc<Method>,
    pub(crate) queue: String,
    pub(crate) id: String,
    /// The request's record.
    pub(crate) record: Box<RawValue>,
    /// The last state that the caller got.
    pub(crate) last: JobState,
    /// A final state that comes after the next frame.
    pub(crate) held: Option<JobState>,
    pub(crate) deadline: Instant,
    /// The largest frame, bytes.
    pub(crate) limit: usize,
}

impl Follow {
    /// Opens the stream of all states of the job.
    ///
    /// # Errors
    ///
    /// NOT_FOUND if the job's status is no longer kept, UNAVAILABLE without Redis or when the door
    /// drains, DEADLINE_EXCEEDED at the deadline.
    pub(crate) async fn open(&self) -> Result<StatusStream, Status> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let opening = self.door.client().monitor_timeout((&*self.queue, &*self.id), left);
        tokio::select! {
            biased;
            () = self.door.draining() => Err(draining()),
            opened = opening => Ok(opened.map_err(Failure::from)?),
        }
    }

    /// Waits for the next frame: of a state that comes after the last one. A job that runs again is
    /// still Processing. `None` after the final state. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`Follow::open`].
    pub(crate) async fn next(
        &mut self,
        states: &mut StatusStream,
    ) -> Result<Option<Vec<u8>>, Status> {
        while !self.last.ends() {
            if let Some(end) = self.held.take() {
                return self.frame(end).map(Some);
            }
            let state = tokio::select! {
                biased;
                () = self.door.draining() => return Err(draining()),
                state = states.next() => state,
            };
            let Some(state) = state else {
                let message = "the job's states ended without a final one";
                return Err(Failure::new(Code::Internal, message).into());
            };
            let state = state.map_err(Failure::from)?.state;
            if !comes_after(state, self.last) {
                continue;
            }
            // Of a job that has ended before the stream was open, only the end is read.
            if state.ends() && self.last == JobState::Pending && self.has_run().await {
                self.held = Some(state);
                return self.frame(JobState::Processing).map(Some);
            }
            return self.frame(state).map(Some);
        }
        Ok(None)
    }

    /// Returns the frame of a state, which is then the last one.
    fn frame(&mut self, state: JobState) -> Result<Vec<u8>, Status> {
        self.last = state;
        let id = match self.method.does {
            GrpcDoes::Init => Some(&*self.id),
            GrpcDoes::Monitor | GrpcDoes::Call => None,
        };
        self.method.frame(&self.record, id, state, self.limit).map_err(unfit)
    }

    /// Returns `true` if the record of the job's states has a run.
    async fn has_run(&self) -> bool {
        let states = self.door.client().status_history((&*self.queue, &*self.id)).await;
        states.is_ok_and(|states| states.iter().any(|state| state.state == JobState::Processing))
    }
}

fn comes_after(state: JobState, last: JobState) -> bool {
    let rank = |state| match state {
        JobState::Pending => 0,
        JobState::Processing => 1,
        JobState::Success | JobState::Error => 2,
    };
    rank(state) > rank(last)
}

fn draining() -> Status {
    let message = "the gateway shuts down; the job continues: monitor it again";
    Status::new(GrpcCode::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_state_comes_after_none() {
        use JobState::{Error, Pending, Processing, Success};
        for (state, last, comes) in [
            (Pending, Pending, false),
            (Processing, Pending, true),
            (Processing, Processing, false),
            (Success, Pending, true),
            (Error, Processing, true),
            (Pending, Processing, false),
        ] {
            assert_eq!(comes_after(state, last), comes, "{state} after {last}");
        }
    }
}
