//! Options of a request that few callers need.

use std::time::Duration;

use crate::call::request::RequestBuilder;

impl RequestBuilder {
    /// Enqueues the request only if a live worker serves its queue; otherwise the call ends with
    /// `no_workers` at once. By default, [`RequestBuilder::send`] and [`RequestBuilder::submit`]
    /// enqueue in any case, and a waiting caller tolerates a queue without a worker for the setting
    /// `client.no_workers_grace`. A delayed request is enqueued in any case.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Code;
    ///
    /// let command = client.request("echo").data("hello").require_worker();
    /// let ticket = command.submit().await?;
    /// assert_eq!(ticket.wait().await?.json::<String>()?, "hello");
    ///
    /// let command = client.request("echo").queue("unserved").require_worker();
    /// assert_eq!(command.submit().await.err().map(|error| error.code()), Some(Code::NoWorkers));
    /// # Ok(()) });
    /// ```
    pub fn require_worker(mut self) -> Self {
        self.worker_required = true;
        self
    }

    /// Sets the job's own time, counted from when it is due, apart from the time that the caller
    /// waits. By default they are equal for a caller that waits. A caller whose timeout is over
    /// still withdraws the request; if it [detaches](crate::FrameStream::detach) its stream before,
    /// the job has the rest of its own time.
    pub fn job_timeout(mut self, timeout: Duration) -> Self {
        self.job_timeout = Some(timeout);
        self
    }

    /// Sets how long the request's signature is valid after the request is due, at most 7 days. A
    /// job that has not started by then ends with `unauthorized`. Its id is remembered for as long.
    /// The default is [`RequestBuilder::timeout`] plus one minute, or 7 days without a timeout. No
    /// effect without a signing key (the setting `auth.sign_with`).
    pub fn expires_in(mut self, validity: Duration) -> Self {
        self.expires_in = Some(validity);
        self
    }

    /// Tracks the status of the job for [`Client::status`](crate::Client::status) and
    /// [`Client::monitor`](crate::Client::monitor). The status is kept while the job runs and for
    /// `kept` (1 s to 7 days) after its last change. It is `Pending` as soon as the request is
    /// enqueued. The default is the setting `status` of the job; without either, no status is kept.
    /// Costs additional commands in Redis.
    pub fn track_status(mut self, kept: Duration) -> Self {
        self.tracking = Some(kept);
        self
    }

    /// Sets the time in which a run may start, counted from when the request is due: a later run
    /// ends with `deadline_exceeded`. By default that time is the job's own. With a long
    /// [`RequestBuilder::job_timeout`] it keeps a request whose caller has died, and therefore
    /// withdraws nothing, from a late start. Has no effect with an idempotency key, since other
    /// callers may join the call.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.start_within = Some(time);
        self
    }
}
