//! Settling a job with the result of its handler.

use redcall_store::Settled;
use tokio::sync::oneshot;

use crate::handler::error::HandlerResult;
use crate::run::job::Job;
use crate::run::outcome;

impl Job {
    /// Settles the job with its handler's result. Returns `false` if it is settled already.
    pub(crate) async fn settle(
        &self,
        result: HandlerResult,
        notify: Option<oneshot::Sender<Settled>>,
    ) -> bool {
        self.settle_as(|seq| outcome::of_result(self, result, seq), notify).await
    }

    /// Settles a job that [`Job::take`] has taken.
    pub(crate) async fn settle_taken(&self, result: HandlerResult) {
        let seq = self.seq.lock().await;
        self.send(self.spent(outcome::of_result(self, result, *seq + 1)), None);
    }
}
