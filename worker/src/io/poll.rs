//! One poll: settle what has ended and take what there is room for, over all queues, in one write.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::limits::portion;
use redcall_store::{
    Leased, Link, Outcome, PollReply, QueuePoll, Rule, Settled, Settlement, StoreError, WorkerKeys,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::WITHIN;
use super::queue::{Leaving, Queue, Resend};
use crate::failure::whole;
use crate::metrics::{Metrics, Tally};

/// Pause after a failed poll.
const PAUSE: Duration = Duration::from_millis(50);

/// How many requests a poll takes from a queue at most, and how many it settles. While Redis
/// carries out one portion, worker and callers deal with the one before: with a thousand at a time
/// each would wait for the others.
const PORTION: usize = 128;

/// One queue's part of a poll.
pub(crate) struct Part {
    pub(crate) queue: usize,
    keys: Arc<WorkerKeys>,
    take: usize,
    parked: Vec<String>,
    rules: Arc<[Rule]>,
    read_back: bool,
    more: bool,
    /// Whether it asks for the queue's length; a blocked pop that is out tells it anyhow.
    length: bool,
    serial: u64,
    again: bool,
    outcomes: Vec<Outcome>,
    followed: Vec<EventItem>,
}

/// Who hears what became of an outcome, and what is counted of it.
type EventItem = (Option<oneshot::Sender<Settled>>, Tally);

/// A poll that is out.
pub(crate) type InFlightPoll = Pin<Box<dyn Future<Output = Ended>>>;

/// The end of a poll; never, while there is none.
pub(crate) async fn end_of(poll: &mut Option<InFlightPoll>) -> Ended {
    match poll {
        Some(poll) => poll.await,
        None => std::future::pending().await,
    }
}

/// A poll that has ended.
pub(crate) struct Ended {
    pub(crate) parts: Vec<Part>,
    pub(crate) replies: Result<Vec<Result<Reply, StoreError>>, StoreError>,
}

/// What a poll brought for one part.
pub(crate) struct Reply {
    pub(crate) poll: PollReply,
    /// What was held before the poll, if that was read back.
    pub(crate) held: Option<Vec<Leased>>,
}

/// What the next poll would do; empty when there is nothing to do. `room` is how many requests
/// may be taken in all, `rules` which names are limited, `look` whether to look at each queue
/// even if there is nothing to do: what comes back shows that its polls do.
///
/// Room goes to queues in priority order, to each but the last as much as it was long: a script
/// cannot see how much another one took.
pub(crate) fn plan(
    queues: &mut [Queue],
    mut room: usize,
    rules: &Arc<[Rule]>,
    look: bool,
) -> Vec<Part> {
    let last = queues.iter().rposition(Queue::may_have_work);
    let mut parts = Vec::new();
    for (index, queue) in queues.iter_mut().enumerate() {
        if queue.refused.is_some() {
            continue;
        }
        let take = match queue.length {
            _ if !queue.may_have_work() => 0,
            // What waits sorted has no length here.
            Some(length) if last != Some(index) && !queue.ready => {
                room.min(length + queue.parked.len())
            }
            _ => room,
        };
        let take = take.min(PORTION);
        room -= take;
        let read_back = queue.to_read_back();
        if take == 0 && !queue.has_outcomes() && !read_back && !look {
            continue;
        }
        let again = queue.resend.is_some();
        let Resend { serial, leaving } = queue.resend.take().unwrap_or_else(|| {
            queue.serial += 1;
            let leaving = queue.leaving.iter().take(PORTION);
            let portion = portion(leaving.map(|leaving| leaving.outcome.size()));
            Resend { serial: queue.serial, leaving: queue.leaving.drain(..portion).collect() }
        });
        let leaving = leaving.into_iter().map(|l| (l.outcome, (l.heard, l.tally)));
        let (outcomes, followed) = leaving.unzip();
        if take > 0 {
            queue.poll_goes_out();
        }
        let parked = if take > 0 { std::mem::take(&mut queue.parked) } else { Vec::new() };
        parts.push(Part {
            queue: index,
            keys: queue.keys.clone(),
            take,
            parked,
            rules: queue.rules(rules).clone(),
            read_back,
            more: queue.more,
            length: !queue.popping || queue.length != Some(0),
            serial,
            again,
            outcomes,
            followed,
        });
    }
    parts
}

/// Runs a poll. Not to be dropped before its end: what it leased would be forgotten.
pub(crate) async fn run(link: Arc<Link>, parts: Vec<Part>) -> Ended {
    let replies = replies(&link, &parts).await;
    match &replies {
        Ok(replies) => {
            for (part, reply) in parts.iter().zip(replies) {
                if let Err(error) = reply {
                    let queue = part.keys.queue.name();
                    tracing::warn!(
                        error = %whole(&error),
                        queue,
                        "a queue cannot be served; it is tried again"
                    );
                }
            }
            if replies.iter().all(Result::is_err) {
                sleep(PAUSE).await;
            }
        }
        Err(error) => {
            tracing::warn!(
                error = %whole(&error),
                "a poll failed; what it settles is settled again"
            );
            sleep(PAUSE).await;
        }
    }
    Ended { parts, replies }
}

async fn replies(
    link: &Link,
    parts: &[Part],
) -> Result<Vec<Result<Reply, StoreError>>, StoreError> {
    // Before the poll, so that what the poll leases is not among it.
    let mut held = Vec::with_capacity(parts.len());
    for part in parts {
        held.push(match part.read_back {
            true => match link.held(&part.keys, WITHIN).await {
                Err(error) if error.is_transient() => return Err(error),
                held => held.map(Some),
            },
            false => Ok(None),
        });
    }
    let polls = parts.iter().map(|part| QueuePoll {
        keys: &part.keys,
        take: part.take,
        parked: &part.parked,
        rules: &part.rules,
        outcomes: &part.outcomes,
        serial: part.serial,
        again: part.again,
        more: part.more,
        // What a lost pop has left there is found with all else that is in doubt.
        inbox: part.leases(),
        length: part.length,
    });
    let polls: Vec<QueuePoll<'_>> = polls.collect();
    let replies = link.poll(&polls, WITHIN).await?.into_iter().zip(held);
    Ok(replies.map(|(poll, held)| Ok(Reply { poll: poll?, held: held? })).collect())
}

impl Part {
    /// The names whose parked requests it took first.
    pub(crate) fn take_parked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.parked)
    }

    /// Whether it leases what it finds, or at least looks; else it only settles.
    pub(crate) fn leases(&self) -> bool {
        self.take > 0 || self.read_back || self.outcomes.is_empty()
    }

    /// Whether this poll settles `id`.
    pub(crate) fn settles(&self, id: &str) -> bool {
        self.outcomes.iter().any(|outcome| outcome.id == id)
    }

    /// The part of a probe, which leases it, or settles it with `outcome`.
    pub(crate) fn of_probe(keys: Arc<WorkerKeys>, serial: u64, outcome: Option<Outcome>) -> Self {
        Self {
            // None of the worker's: the probe takes its part back before anybody looks.
            queue: usize::MAX,
            keys,
            take: usize::from(outcome.is_none()),
            parked: Vec::new(),
            rules: Arc::from([]),
            read_back: false,
            more: false,
            length: true,
            serial,
            again: false,
            outcomes: outcome.into_iter().collect(),
            followed: Vec::new(),
        }
    }

    /// Tells the tasks that wait for it, counts, and logs what was refused. Returns the outcomes
    /// that Redis could not store.
    pub(crate) fn settled(self, settled: Vec<Settled>, metrics: &Metrics) -> Vec<Leaving> {
        let mut failed = Vec::new();
        // By reference: an outcome is large, and few fail.
        let followed = self.outcomes.iter().zip(self.followed).zip(settled);
        for (index, ((outcome, (heard, tally)), settled)) in followed.enumerate() {
            match settled {
                Settled::Yes => {
                    if let Settlement::Unknown { name, .. } = &outcome.settlement {
                        let (queue, code) = (self.keys.queue.name(), Code::UnknownJob);
                        let id = &outcome.id;
                        tracing::warn!(id, name, queue, %code, "not run: no live worker maps it");
                    }
                    metrics.settled(outcome, tally);
                }
                Settled::Parked => {
                    tracing::info!(id = outcome.id, "parked for a worker that maps its name");
                }
                Settled::LeaseLost => {
                    metrics.refused(outcome, tally);
                    tracing::warn!(id = outcome.id, "its lease was gone: nothing was settled");
                }
                Settled::Failed => {
                    failed.push((index, heard, tally));
                    continue;
                }
            }
            if let Some(heard) = heard {
                let _ = heard.send(settled);
            }
        }
        let mut failed = failed.into_iter().peekable();
        let mut outcomes = self.outcomes.into_iter().enumerate();
        let mut leaving = Vec::new();
        while failed.peek().is_some()
            && let Some((index, outcome)) = outcomes.next()
        {
            let failed = failed.next_if(|(failed, ..)| *failed == index);
            leaving.extend(failed.map(|(_, heard, tally)| Leaving { outcome, heard, tally }));
        }
        leaving
    }

    /// Puts everything back, to be tried again under the same number.
    pub(crate) fn undo(self, queue: &mut Queue) {
        let leaving = self.outcomes.into_iter().zip(self.followed);
        let leaving = leaving.map(|(outcome, (heard, tally))| Leaving { outcome, heard, tally });
        let leaving: Vec<Leaving> = leaving.collect();
        if !leaving.is_empty() {
            queue.resend = Some(Resend { serial: self.serial, leaving });
        }
        queue.parked.extend(self.parked);
        queue.doubt();
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;

    use super::*;

    #[test]
    fn an_outcome_is_counted_as_it_was_settled() {
        let keys = Arc::new(WorkerKeys::probe(&Keys::new("redcall").of("default"), "w"));
        let metrics = Metrics::new();
        for settled in [Settled::Yes, Settled::Parked, Settled::LeaseLost] {
            let outcome = Outcome::new("a", Settlement::Done);
            let mut part = Part::of_probe(keys.clone(), 1, Some(outcome));
            part.followed.push((None, Tally { job: Some("add".to_owned()), ran: None }));
            assert!(part.settled(vec![settled], &metrics).is_empty());
        }
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let mut counted: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("redcall_jobs_total")).collect();
        counted.sort_unstable();
        let expected = [r#"{job="add",outcome="lost"} 1"#, r#"{job="add",outcome="ok"} 1"#];
        assert_eq!(counted, expected);
    }
}
