//! Enqueuing: by plain commands while the room of the queue is known, else by a script.
//!
//! A plain push checks nothing before. Its checks follow it in the same write, and a request
//! that the script would have refused is removed again. The script then decides on it, by the clock
//! of Redis, and names the reason. Only a large request passes no script: Lua reads each byte of
//! its arguments several times.

use std::time::Duration;

use futures_util::future::join;
use redcall_store::{Connection, Item, PushReply, SendOps as _, StoreError, Waited};
use tokio::time::Instant;

use super::command::Outgoing;
use super::element::{Element, Outcome};
use crate::engine::room::Room;
use crate::engine::route::Route;

/// The longest envelope that passes a script, bytes.
const SCRIPT_BYTES: usize = 64 << 10;

/// The result of each request. After [`StoreError::Lost`] it may be in the queue.
type Outcomes = Vec<Result<Outcome, StoreError>>;

/// Enqueues requests of one queue.
pub(super) struct Enqueue<'a> {
    pub(super) link: &'a Connection,
    pub(super) route: &'a Route,
    /// The time limit for a connection.
    pub(super) timeout: Duration,
}

/// The result of a push for one request, before it is removed if necessary.
#[derive(Debug)]
enum Verdict {
    Queued,
    /// The request is in the queue and must be removed from it.
    Wrong(Outcome),
    /// As before; a check was refused.
    WrongUnknown,
    Refused(StoreError),
}

impl Enqueue<'_> {
    /// Enqueues `elements` in order and deletes the response keys in `forget`. Returns one result
    /// each.
    pub(super) async fn run(&self, elements: &[Element<'_>], forget: &[String]) -> Outcomes {
        let waited = elements.iter().any(|element| element.waited);
        if self.route.room.allows(elements.len(), waited, Instant::now()) {
            return self.push(elements, forget).await;
        }
        let (large, small): (Vec<usize>, Vec<usize>) =
            (0..elements.len()).partition(|at| elements[*at].is_large());
        if large.is_empty() {
            return self.by_script(elements, forget).await;
        }
        let of = |places: &[usize]| places.iter().map(|at| elements[*at]).collect::<Vec<_>>();
        let mut outcomes: Outcomes = vec![Ok(Outcome::Queued); elements.len()];
        let first = self.by_script(&of(&small), forget).await;
        let then = self.push_large(&of(&large)).await;
        for (at, outcome) in small.into_iter().zip(first).chain(large.into_iter().zip(then)) {
            outcomes[at] = outcome;
        }
        outcomes
    }

    /// Pushes the requests. The script gets those on which it has to decide.
    async fn push(&self, elements: &[Element<'_>], forget: &[String]) -> Outcomes {
        let Self { link, route, timeout } = *self;
        let written_at = Instant::now();
        let waited = elements.iter().any(|element| element.waited);
        let checks = route.room.checks(waited, written_at);
        let envelopes: Vec<&str> = elements.iter().map(|element| element.envelope).collect();
        let pushing = link.push(&route.keys, &envelopes, checks, forget, timeout);
        match pushing.await {
            Ok(reply) => {
                route.room.note_push(written_at, checks, &reply);
                self.decide(elements, &reply).await
            }
            Err(error) => {
                route.room.forget();
                vec![Err(error); elements.len()]
            }
        }
    }

    /// Decides on requests that were pushed with this reply.
    pub(super) async fn decide(&self, elements: &[Element<'_>], reply: &PushReply) -> Outcomes {
        let mut outcomes = self.check(elements, reply).await;
        let is_undecided = |at: &usize| match &outcomes[*at] {
            Ok(Some(Outcome::Queued | Outcome::Full)) => false,
            Ok(None) => true,
            Ok(Some(_)) | Err(_) => !elements[*at].is_large(),
        };
        let undecided: Vec<usize> = (0..elements.len()).filter(is_undecided).collect();
        if !undecided.is_empty() {
            let remaining: Vec<Element<'_>> = undecided.iter().map(|at| elements[*at]).collect();
            let decided = self.by_script(&remaining, &[]).await;
            for (at, outcome) in undecided.into_iter().zip(decided) {
                outcomes[at] = outcome.map(Some);
            }
        }
        let known = |outcome: Option<Outcome>| outcome.unwrap_or(Outcome::NoWorkers);
        outcomes.into_iter().map(|outcome| outcome.map(known)).collect()
    }

    /// Pushes requests too large for a script. First checks whether they will be taken, so that
    /// they are rarely removed again.
    async fn push_large(&self, elements: &[Element<'_>]) -> Outcomes {
        let Self { link, route, timeout } = *self;
        let checked_at = Instant::now();
        let serving = async {
            match elements.iter().any(|element| element.waited) {
                true => link.is_served(&route.keys, timeout).await,
                false => Ok(true),
            }
        };
        let (served, held) = join(serving, link.held_by(&route.keys, timeout)).await;
        let (served, held) = match (served, held) {
            (Ok(served), Ok(held)) => (served, held),
            (Err(error), _) | (_, Err(error)) => return vec![Err(error); elements.len()],
        };
        route.room.note_held(checked_at, held);
        let mut free = route.room.free(held);
        let mut outcomes: Outcomes = Vec::with_capacity(elements.len());
        let mut pushed = Vec::new();
        for element in elements {
            outcomes.push(Ok(match element.waited && !served {
                true => Outcome::NoWorkers,
                false if free == 0 => Outcome::Full,
                false => {
                    free -= 1;
                    pushed.push(*element);
                    Outcome::Queued
                }
            }));
        }
        if !pushed.is_empty() {
            let mut results = self.push(&pushed, &[]).await.into_iter();
            let queued = outcomes.iter_mut().filter(|one| matches!(one, Ok(Outcome::Queued)));
            queued.zip(&mut results).for_each(|(one, result)| *one = result);
        }
        outcomes
    }

    /// Removes those of the pushed `elements` that should not be there. `None` for those on which
    /// only the script can decide.
    async fn check(
        &self,
        elements: &[Element<'_>],
        reply: &PushReply,
    ) -> Vec<Result<Option<Outcome>, StoreError>> {
        let verdicts = judge(reply, elements, |length| self.route.room.excess(length));
        let is_wrong = |verdict: &Verdict| match verdict {
            Verdict::Queued | Verdict::Refused(_) => false,
            Verdict::Wrong(_) | Verdict::WrongUnknown => true,
        };
        let wrong = verdicts.iter().zip(elements).filter(|(verdict, _)| is_wrong(verdict));
        let wrong: Vec<&str> = wrong.map(|(_, element)| element.envelope).collect();
        let mut removed = match wrong.is_empty() {
            true => Vec::new(),
            false => self.remove(&wrong).await,
        }
        .into_iter();
        let outcomes = verdicts.into_iter().map(|verdict| {
            let stays = is_wrong(&verdict) && removed.next() != Some(true);
            match verdict {
                _ if stays => Ok(Some(Outcome::Queued)),
                Verdict::Queued => Ok(Some(Outcome::Queued)),
                Verdict::Wrong(outcome) => Ok(Some(outcome)),
                Verdict::WrongUnknown => Ok(None),
                Verdict::Refused(error) => Err(error),
            }
        });
        outcomes.collect()
    }

    /// Removes requests from the queue; returns `false` for those that may still be there.
    async fn remove(&self, envelopes: &[&str]) -> Vec<bool> {
        let removed = self.link.unpush(&self.route.keys, envelopes, self.timeout).await;
        removed.unwrap_or_else(|error| {
            let queue = self.route.keys.name();
            tracing::warn!(%error, queue, "requests that should not be queued were not removed");
            self.route.room.forget();
            vec![false; envelopes.len()]
        })
    }

    async fn by_script(&self, elements: &[Element<'_>], forget: &[String]) -> Outcomes {
        if elements.is_empty() {
            return Vec::new();
        }
        let Self { link, route, timeout } = *self;
        let item = |one: &Element<'_>| Item { waited: one.waited, envelope: one.envelope.into() };
        let items: Vec<Item> = elements.iter().map(item).collect();
        let checked_at = Instant::now();
        let enqueuing = link.enqueue(&route.keys, route.room.cap(), &items, forget, timeout);
        // After the script, in the same write.
        let counting = async {
            match route.room.is_check_due(checked_at) {
                true => link.held_by(&route.keys, timeout).await.ok(),
                false => None,
            }
        };
        let (enqueued, held) = join(enqueuing, counting).await;
        if let Some(held) = held {
            route.room.note_held(checked_at, held);
        }
        let enqueued = match enqueued {
            Ok(enqueued) => enqueued,
            Err(error) => {
                route.room.forget();
                return vec![Err(error); elements.len()];
            }
        };
        if items.iter().any(|item| item.waited) {
            route.room.note_waited(enqueued.waited == Waited::Taken);
        }
        let mut left = enqueued.accepted;
        let outcomes = items.iter().map(|item| {
            Ok(match enqueued.waited {
                Waited::NoWorkers if item.waited => Outcome::NoWorkers,
                Waited::AnswersFull if item.waited => Outcome::AnswersFull,
                _ if left > 0 => {
                    left -= 1;
                    Outcome::Queued
                }
                _ => Outcome::Full,
            })
        });
        outcomes.collect()
    }
}

impl Element<'_> {
    pub(crate) fn is_large(&self) -> bool {
        self.envelope.len() > SCRIPT_BYTES
    }
}

/// Returns `true` if all requests of a push stay in the queue.
pub(crate) fn all_queued(requests: &[Outgoing], reply: &PushReply, room: &Room) -> bool {
    let elements: Vec<Element<'_>> = requests.iter().map(Outgoing::element).collect();
    let verdicts = judge(reply, &elements, |length| room.excess(length));
    // Never more than there are.
    verdicts.len() == elements.len()
        && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Queued))
}

/// Returns the result of each pushed request. `excess` returns by how many requests the queue is
/// over its cap at a length of its list.
fn judge(reply: &PushReply, elements: &[Element<'_>], excess: impl Fn(u64) -> u64) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(elements.len());
    let mut elements = elements.iter();
    // Requests of earlier commands that will be removed are counted in later lengths.
    let mut over = 0;
    for (count, length) in &reply.commands {
        let own = elements.by_ref().take(*count).enumerate();
        let length = match length {
            Ok(length) => length,
            Err(error) => {
                verdicts.extend(own.map(|_| Verdict::Refused(error.clone())));
                continue;
            }
        };
        let excess = usize::try_from(excess(*length).saturating_sub(over)).unwrap_or(usize::MAX);
        let fits = count.saturating_sub(excess);
        over += (count - fits) as u64;
        verdicts.extend(own.map(|(at, element)| match (element.waited, reply.served) {
            (true, None) => Verdict::WrongUnknown,
            (true, Some(false)) => Verdict::Wrong(Outcome::NoWorkers),
            (true, Some(true)) if reply.answers_full => Verdict::Wrong(Outcome::AnswersFull),
            _ if at >= fits => Verdict::Wrong(Outcome::Full),
            _ => Verdict::Queued,
        }));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(waited: &[bool]) -> Vec<Element<'static>> {
        waited.iter().map(|waited| Element { envelope: "{}", waited: *waited }).collect()
    }

    fn reply(commands: Vec<(usize, Result<u64, StoreError>)>, served: Option<bool>) -> PushReply {
        PushReply { commands, served, outside: false, answers_full: false }
    }

    #[test]
    fn waited_request_stays_only_if_a_live_worker_is_known() {
        let both = elements(&[true, false]);
        for (served, answers_full, waited) in [
            (Some(true), false, Verdict::Queued),
            (Some(true), true, Verdict::Wrong(Outcome::AnswersFull)),
            (Some(false), false, Verdict::Wrong(Outcome::NoWorkers)),
            (None, false, Verdict::WrongUnknown),
        ] {
            let reply = PushReply { answers_full, ..reply(vec![(2, Ok(2))], served) };
            let verdicts = judge(&reply, &both, |_| 0);
            assert_eq!(format!("{verdicts:?}"), format!("{:?}", [waited, Verdict::Queued]));
        }
    }

    #[test]
    fn last_requests_over_the_cap_are_wrong() {
        let four = elements(&[false; 4]);
        for (cap, queued) in [(11, 4), (10, 3), (9, 2), (8, 1), (0, 0)] {
            let reply = reply(vec![(2, Ok(9)), (2, Ok(11))], None);
            let verdicts = judge(&reply, &four, |length| length.saturating_sub(cap));
            let stay = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Queued));
            assert_eq!(stay.count(), queued, "{cap}: {verdicts:?}");
        }
    }

    #[test]
    fn refused_command_has_pushed_nothing() {
        let three = elements(&[true, false, false]);
        let refused = || StoreError::Unexpected("RPUSH");
        let reply = reply(vec![(2, Err(refused())), (1, Ok(1))], Some(true));
        let verdicts = judge(&reply, &three, |_| 0);
        use Verdict::{Queued, Refused};
        assert!(matches!(verdicts[..], [Refused(_), Refused(_), Queued]), "{verdicts:?}");
    }
}
