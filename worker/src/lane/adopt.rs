//! The adoption of a lane inbox: requests that were started get a real lease, all others return to
//! the queue.

use std::collections::HashMap;
use std::sync::Arc;

use redcall_store::{
    Adoption, Connection, LaneKeys, LaneOps as _, Leased, Session as _, Settled, StoreError,
    Unblocker,
};
use tokio::time::sleep;

use super::shared::{HandedOver, Settling, Started};
use crate::causes::with_causes;
use crate::time::{REDIS_PAUSE, REDIS_TIMEOUT};

/// The end of an adoption.
pub(crate) struct Adopted {
    /// The jobs that were started, each with its lease: `None` if that is unknown or lost.
    pub(crate) started: Vec<(Started, Option<Leased>)>,
    /// The outcomes of the lane, and their results.
    pub(crate) settled: Option<(Arc<Settling>, Vec<Settled>)>,
    /// The error codes of elements that were dead-lettered.
    pub(crate) refused: Vec<String>,
}

/// Adopts an inbox. Retries until Redis has done it.
pub(super) async fn adopt(
    link: &Connection,
    keys: &LaneKeys,
    unblocker: &Unblocker,
    inbox: HandedOver,
) -> Adopted {
    let HandedOver { started, settling, is_sent, serial, cut, large } = inbox;
    let ids: Vec<String> = started.iter().map(|started| started.id.clone()).collect();
    let outcomes = settling.as_ref().map_or(&[][..], |settling| &settling.outcomes);
    let mut again = is_sent;
    loop {
        let tried = async {
            if cut {
                link.cut(unblocker, REDIS_TIMEOUT).await?;
            }
            let adoption = Adoption { keys, outcomes, started: &ids, serial, again, large };
            link.adopt(&adoption, REDIS_TIMEOUT).await
        };
        match tried.await {
            Ok(adopted) => {
                if let Some(problem) = &adopted.trouble {
                    let queue = keys.own.queue.name();
                    tracing::warn!(
                        queue,
                        problem,
                        "cannot dead-letter a request that is too large"
                    );
                }
                let mut leases: HashMap<String, Leased> =
                    adopted.leased.into_iter().map(|leased| (leased.id.clone(), leased)).collect();
                let started = started.into_iter().map(|started| {
                    let lease = leases.remove(&started.id);
                    (started, lease)
                });
                return Adopted {
                    started: started.collect(),
                    settled: settling.map(|settling| (settling, adopted.settled)),
                    refused: adopted.refused,
                };
            }
            Err(error) => {
                again |= error.may_have_happened() && !outcomes.is_empty();
                note(keys, &error);
                sleep(REDIS_PAUSE).await;
            }
        }
    }
}

fn note(keys: &LaneKeys, error: &StoreError) {
    let queue = keys.own.queue.name();
    if error.is_refused() {
        tracing::warn!(error = with_causes(error), queue, "cannot adopt a lane inbox: retrying");
    } else {
        tracing::debug!(error = with_causes(error), queue, "adopting a lane inbox again");
    }
}
