//! Sending many requests at once.

use futures_util::future::{join, join_all};
use tokio::time::Instant;

use crate::call::alike::AlikeRequests;
use crate::call::request::{Delivery, RequestBuilder};
use crate::call::send::{Group, Outbound, run_alongside};
use crate::engine::client::Client;
use crate::error::CallError;
use crate::response::{Receipt, Response};

impl Client {
    /// Enqueues all `requests` of this client and returns one result each, in order.
    ///
    /// The requests are written together. Those that differ only in their data are checked once per
    /// 256 and cost least. Each ends within its own timeout. After the future is dropped, each may
    /// be queued or not, as for [`Client::call`].
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// let requests = (0..100).map(|number| client.request("echo").data(&number));
    /// for receipt in client.call_many(requests).await {
    ///     println!("queued as {}", receipt?.id);
    /// }
    /// # Ok(()) });
    /// ```
    pub async fn call_many(
        &self,
        requests: impl IntoIterator<Item = RequestBuilder>,
    ) -> Vec<Result<Receipt, CallError>> {
        let mut requests = requests.into_iter();
        let mut alike = AlikeRequests::new(&self.inner);
        let mut other = None;
        for request in requests.by_ref() {
            other = alike.add(request).await;
            if other.is_some() {
                break;
            }
        }
        alike.flush().await;
        let Some(other) = other else { return alike.finish().await };
        // In the order of the requests: the first ones are handed over already.
        let others = self.call_each(std::iter::once(*other).chain(requests));
        let (mut receipts, others) = join(alike.finish(), others).await;
        receipts.extend(others);
        receipts
    }

    /// Enqueues any kind of requests.
    async fn call_each(
        &self,
        requests: impl IntoIterator<Item = RequestBuilder>,
    ) -> Vec<Result<Receipt, CallError>> {
        let (mut groups, mut outbound) = (Vec::new(), Vec::new());
        for request in requests {
            let prepared = async {
                let (outgoing, mut one) = request.prepare_outbound(Delivery::FireAndForget)?;
                one.resolve_target().await?;
                Group::add(&mut groups, &one.prepared, false, outgoing);
                Ok(one)
            };
            outbound.push(prepared.await);
        }
        let dispatching = self.inner.dispatch_all(groups);
        let finishing = async {
            // Durability checks are made together for all requests.
            if outbound.iter().flatten().any(|outbound| outbound.target.is_some()) {
                let all = outbound.into_iter().map(async |outbound| outbound?.finish().await);
                return join_all(all).await;
            }
            let finish = async |mut outbound: Box<Outbound>| outbound.finish().await;
            each(outbound, |outbound| outbound.prepared.deadline, finish).await
        };
        run_alongside(dispatching, finishing).await
    }

    /// Enqueues all `requests` of this client, waits for all answers, and returns one result each,
    /// in order.
    ///
    /// The requests are written together, up to 1,024 per queue and command; answers cost no
    /// command. Each ends within its own timeout. Dropping the future cancels the jobs without an
    /// answer, as for [`Client::call_and_wait`].
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// let requests = (0..100).map(|number| client.request("echo").data(&number));
    /// for (number, answer) in client.wait_many(requests).await.into_iter().enumerate() {
    ///     assert_eq!(answer?.json::<usize>()?, number);
    /// }
    /// # Ok(()) });
    /// ```
    pub async fn wait_many(
        &self,
        requests: impl IntoIterator<Item = RequestBuilder>,
    ) -> Vec<Result<Response, CallError>> {
        let (mut groups, mut waiting) = (Vec::new(), Vec::new());
        for request in requests {
            waiting.push(request.prepare_wait().map(|(outgoing, waiting)| {
                Group::add(&mut groups, &waiting.prepared, true, outgoing);
                waiting
            }));
        }
        let dispatching = self.inner.dispatch_all(groups);
        let finishing = join_all(waiting.into_iter().map(async |waiting| waiting?.finish().await));
        run_alongside(dispatching, finishing).await
    }
}

/// Finishes all prepared requests and returns their results in the original order.
///
/// In the order of their deadlines, one after the other: a later request has either ended in the
/// meantime or still has time left. So a batch of a thousand wakes its task once or twice, not a
/// thousand times.
async fn each<P, T, F>(
    prepared: Vec<Result<P, CallError>>,
    deadline: impl Fn(&P) -> Instant,
    finish: impl Fn(P) -> F,
) -> Vec<Result<T, CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut ended = Vec::with_capacity(prepared.len());
    let mut open = Vec::with_capacity(prepared.len());
    for (at, prepared) in prepared.into_iter().enumerate() {
        match prepared {
            Ok(prepared) => open.push((at, prepared)),
            Err(error) => ended.push((at, Err(error))),
        }
    }
    open.sort_by_key(|(_, prepared)| deadline(prepared));
    for (at, prepared) in open {
        ended.push((at, finish(prepared).await));
    }
    ended.sort_unstable_by_key(|(at, _)| *at);
    ended.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use redcall_common::error::Code;
    use redcall_common::settings::Settings;
    use redcall_testkit::TestRedis;
    use redcall_testkit::redis::AsyncCommands;

    use super::*;

    #[tokio::test]
    async fn requests_finish_by_deadline_in_original_order() {
        let (now, finished) = (Instant::now(), RefCell::new(Vec::new()));
        let at = |seconds| Ok(now + Duration::from_secs(seconds));
        let prepared = vec![at(3), at(1), Err(CallError::stopped()), at(2)];
        let finish = async |deadline: Instant| {
            let seconds = (deadline - now).as_secs();
            finished.borrow_mut().push(seconds);
            Ok(seconds)
        };
        let ended = each(prepared, |deadline| *deadline, finish).await;
        let ended: Vec<Option<u64>> = ended.into_iter().map(Result::ok).collect();
        assert_eq!(ended, [Some(3), Some(1), None, Some(2)]);
        assert_eq!(*finished.borrow(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn mixed_batch_keeps_its_order_and_one_result_per_request() {
        let redis = TestRedis::start().await;
        let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
        settings.limits.request = 1000;
        let client = Client::from_settings(&settings).await.unwrap();
        let add = |data: &str| client.request("add").data(data);
        // More than one part, then one that is too large, of another queue, and with a header.
        let mut requests: Vec<RequestBuilder> = (0..300).map(|_| add("alike")).collect();
        let large = "x".repeat(1000);
        requests.extend([add(&large), add("aside").queue("aside"), add("other").header("a", "b")]);
        requests.extend([add("last"), add(&large)]);
        let receipts = client.call_many(requests).await;
        let codes = |(at, result): (usize, &Result<Receipt, CallError>)| {
            Some((at, result.as_ref().err()?.code()))
        };
        let failed: Vec<_> = receipts.iter().enumerate().filter_map(codes).collect();
        assert_eq!(failed, [(300, Code::TooLarge), (304, Code::TooLarge)]);
        let mut conn = redis.connection().await;
        for (queue, count) in [("default", 302), ("aside", 1)] {
            let key = format!("redcall:{{{queue}}}:queue");
            let queued: Vec<String> = conn.lrange(key, 0, -1).await.unwrap();
            let of_queue = receipts.iter().flatten().filter(|receipt| receipt.queue == queue);
            let ids: Vec<&str> = of_queue.map(|receipt| receipt.id.as_str()).collect();
            assert_eq!((queued.len(), ids.len()), (count, count));
            for (envelope, id) in queued.iter().zip(ids) {
                assert!(envelope.starts_with(&format!(r#"{{"id":"{id}""#)), "{envelope}");
            }
        }
    }
}
