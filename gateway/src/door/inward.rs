//! From a foreign name to a request of Redcall, and to its end.

use redcall_client::{Code, Receipt, RequestBuilder, Response};
use redcall_common::depth::data_fits;
use redcall_common::name::is_job_name;
use redcall_common::pattern::matches;
use serde_json::value::RawValue;

use super::outward::shortened;
use super::{Door, Failure};

impl Door {
    /// Returns the job of a foreign name: that of `names`, else `prefix` and the name.
    ///
    /// # Errors
    ///
    /// `unknown_job` if the result has not the form of a job's name, or is not one of `jobs`.
    pub(crate) fn job_of(&self, foreign: &str) -> Result<String, Failure> {
        let inward = &self.settings.inward;
        let named = inward.names.get(foreign).cloned();
        let job = named.unwrap_or_else(|| format!("{}{foreign}", inward.prefix));
        match self.may_call(&job) {
            true => Ok(job),
            false => Err(Failure::unknown_job(foreign)),
        }
    }

    /// Returns `true` if `job` has the form of a job's name and is one of `jobs`.
    pub(crate) fn may_call(&self, job: &str) -> bool {
        let jobs = &self.settings.inward.jobs;
        is_job_name(job) && jobs.iter().any(|pattern| matches(pattern, job))
    }

    /// Returns a request without a budget, with the door's queue and headers: for
    /// [`Door::send`]. `peer` is the address of the caller.
    ///
    /// # Errors
    ///
    /// `unknown_job` if `job` may not be called; `invalid_data` if `data` nest too deep. Nothing
    /// was queued.
    pub(crate) fn request(
        &self,
        job: &str,
        data: &RawValue,
        peer: &str,
    ) -> Result<RequestBuilder, Failure> {
        if !self.may_call(job) {
            return Err(Failure::unknown_job(job));
        }
        let depth = self.all.limits.depth;
        if !data_fits(data.get().as_bytes(), depth) {
            let message = format!("the data nest deeper than {depth} levels");
            return Err(Failure::new(Code::InvalidData, message));
        }
        let request = self.client.request(job).data(data);
        let request = request.header("gateway", &self.name).header("peer", peer);
        let has_queue = self.all.jobs.get(job).is_some_and(|job| job.queue.is_some());
        Ok(match &self.settings.inward.queue {
            Some(queue) if !has_queue => request.queue(queue),
            _ => request,
        })
    }

    /// As [`Door::request`], with the door's `timeout`: for a caller that waits.
    ///
    /// # Errors
    ///
    /// As [`Door::request`].
    pub(crate) fn waited_request(
        &self,
        job: &str,
        data: &RawValue,
        peer: &str,
    ) -> Result<RequestBuilder, Failure> {
        Ok(self.request(job, data, peer)?.timeout(self.settings.timeout))
    }

    /// Sends a request and waits for its answer. Dropping the future withdraws the request.
    ///
    /// # Errors
    ///
    /// The error of the call. Counted and logged.
    pub(crate) async fn wait(
        &self,
        job: &str,
        peer: &str,
        request: RequestBuilder,
    ) -> Result<Response, Failure> {
        let result = request.wait().await.map_err(Failure::from);
        let id = result.as_ref().map_or("", |response| response.id.as_str());
        self.ended(job, peer, id, result.as_ref().err());
        result
    }

    /// Enqueues a request; returns once Redis has confirmed it.
    ///
    /// # Errors
    ///
    /// The error of the call. Counted and logged.
    pub(crate) async fn send(
        &self,
        job: &str,
        peer: &str,
        request: RequestBuilder,
    ) -> Result<Receipt, Failure> {
        let result = request.send().await.map_err(Failure::from);
        let id = result.as_ref().map_or("", |receipt| receipt.id.as_str());
        self.ended(job, peer, id, result.as_ref().err());
        result
    }

    /// Counts and logs the end of a call, for protocols that follow it themselves. `id` is empty if
    /// it is not known.
    pub(crate) fn ended(&self, job: &str, peer: &str, id: &str, failure: Option<&Failure>) {
        let gateway = &self.name;
        self.metrics.request(failure.map(|failure| failure.code));
        match failure {
            None => tracing::debug!(gateway, peer, job, id, "call answered"),
            Some(failure) => {
                // A name that was rejected is foreign text.
                let job = shortened(job);
                tracing::info!(gateway, peer, job, id, code = %failure.code, "call failed");
            }
        }
    }

    /// Counts and logs a call that is rejected before it is sent; returns its error.
    pub(crate) fn rejected(&self, job: &str, peer: &str, failure: Failure) -> Failure {
        self.ended(job, peer, "", Some(&failure));
        failure
    }

    /// Counts and logs a message that is rejected before it becomes a request. `why` is one of a
    /// few fixed words, such as `malformed`.
    pub(crate) fn refuse(&self, peer: &str, why: &'static str) {
        self.metrics.refused(why);
        tracing::info!(gateway = self.name, peer, why, "refused a message");
    }
}
