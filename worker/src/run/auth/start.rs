//! The start of a signed request, which Redis permits once.

use std::sync::atomic::Ordering;

use redcall_common::auth::{Refusal, Start, open_until, within_its_time};
use redcall_store::{Remembered, RunOps as _, Session as _, StoreError};

use super::{Verified, is_first};
use crate::run::job::Job;
use crate::time::REDIS_TIMEOUT;

impl Verified {
    /// Stores the record that `run` starts the request. A request runs once. The start record
    /// decides: workers sign it, and it states whether the request has ended. The record of earlier
    /// runs is not signed, and permits nothing.
    pub(crate) async fn start(
        &self,
        job: &Job,
        run: &str,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let (request, queue, link) = (&job.request, &job.keys.queue, &job.shared.link);
        let Some((signed, signer)) = request.signer() else { return Ok(Err(Refusal::Unsigned)) };
        let now_ms = link.now_ms();
        let (id, token) = (request.id.as_str(), &signed.token);
        let start = Start { queue: queue.name(), id, token };
        let until_ms = open_until(self.expires_at, now_ms);
        let own = signer.started(&start, run, until_ms);
        let in_time = within_its_time(self.expires_at, now_ms);
        let found = match in_time {
            Ok(()) => {
                match link.remember(queue, id, (&own, None), until_ms, REDIS_TIMEOUT).await? {
                    Remembered::Yes => return Ok(self.begin()),
                    Remembered::No(found) => found,
                }
            }
            // Only a request that has started before may continue.
            Err(_) => link.recall(queue, id, REDIS_TIMEOUT).await?,
        };
        let Some(found) = found else { return Ok(Err(in_time.err().unwrap_or(Refusal::Replayed))) };
        // This run's own record: the reply to an earlier attempt was lost.
        let goes_on = signer.is_of(&found, run) || !is_first(job.record);
        if !goes_on || !signer.is_open(&start, &found, now_ms) {
            return Ok(Err(Refusal::Replayed));
        }
        match link.remember(queue, id, (&own, Some(&found)), until_ms, REDIS_TIMEOUT).await? {
            Remembered::Yes => Ok(self.begin()),
            Remembered::No(_) => Ok(Err(Refusal::Replayed)),
        }
    }

    /// Marks the start as stored at Redis.
    fn begin(&self) -> Result<(), Refusal> {
        self.started.store(true, Ordering::Release);
        Ok(())
    }
}
