//! Many requests at once: handed in together, they go out in one write.

use futures_util::future::join_all;

use crate::client::Client;
use crate::error::CallError;
use crate::request::Request;
use crate::response::{Receipt, Response};

impl Client {
    /// Queues all `requests` and lets go; one outcome each, in order.
    ///
    /// Requests of one queue go out in writes of up to 1,024.
    pub async fn call_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Receipt, CallError>> {
        join_all(requests.into_iter().map(Request::send)).await
    }

    /// Queues all `requests` and waits for all answers; one outcome each, in order.
    ///
    /// Requests of one queue go out in writes of up to 1,024; answers cost no command.
    pub async fn wait_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Response, CallError>> {
        join_all(requests.into_iter().map(Request::wait)).await
    }
}
