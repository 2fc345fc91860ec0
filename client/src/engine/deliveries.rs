//! Bounded deliveries: a task that delivers thousands of answers at once would wake as many tasks
//! before any of them runs, and the last ones would wait for all. The calls that the woken callers
//! make next leave in one write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redcall_common::frame::Frame;
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::engine::direct::DirectShared;
use crate::engine::in_flight::InFlight;

/// Maximum number of frames that are delivered before other tasks run.
const FRAMES_MAX: usize = 100;

/// Delivers frames in the order in which they arrive: the first ones at once, further ones by
/// [`Deliveries::run`].
pub(crate) struct Deliveries {
    in_flight: InFlight,
    /// Gathers the next calls of the callers that wake.
    pushes: Option<Arc<DirectShared>>,
    shared: Arc<Shared>,
    /// Gets frames; none if only the pushes have to be written.
    later: mpsc::UnboundedSender<Vec<Frame>>,
    /// Called with the ids whose keys must be read, because a frame was missed.
    on_missed: OnMissed,
}

type OnMissed = Arc<dyn Fn(Vec<String>) + Send + Sync>;

/// Written by both ends.
struct Shared {
    /// Frames in the channel.
    waiting: AtomicUsize,
    /// How many more frames may be delivered at once.
    left: AtomicUsize,
}

/// The end that delivers frames later.
pub(crate) struct LaterDeliveries {
    in_flight: InFlight,
    pushes: Option<Arc<DirectShared>>,
    shared: Arc<Shared>,
    later: mpsc::UnboundedReceiver<Vec<Frame>>,
    on_missed: OnMissed,
}

impl Deliveries {
    /// Returns both ends. The second one runs until the first is dropped.
    pub(crate) fn new(
        in_flight: InFlight,
        pushes: Option<Arc<DirectShared>>,
        on_missed: impl Fn(Vec<String>) + Send + Sync + 'static,
    ) -> (Self, LaterDeliveries) {
        let (waiting, left) = (AtomicUsize::new(0), AtomicUsize::new(FRAMES_MAX));
        let shared = Arc::new(Shared { waiting, left });
        let on_missed: OnMissed = Arc::new(on_missed);
        let (sender, receiver) = mpsc::unbounded_channel();
        let (own, missed) = (shared.clone(), on_missed.clone());
        let later = LaterDeliveries {
            in_flight: in_flight.clone(),
            pushes: pushes.clone(),
            shared: own,
            later: receiver,
            on_missed: missed,
        };
        (Self { in_flight, pushes, shared, later: sender, on_missed }, later)
    }

    /// Delivers the frames of one announcement. Called by one task at a time.
    pub(crate) fn pass(&self, mut frames: Vec<Frame>) {
        let Shared { waiting, left } = &*self.shared;
        if waiting.load(Ordering::Acquire) == 0 {
            let now = left.load(Ordering::Relaxed).min(frames.len());
            left.fetch_sub(now, Ordering::Relaxed);
            let rest = frames.split_off(now);
            if now > 1 && self.pushes.as_ref().is_some_and(|pushes| pushes.cork()) {
                // Uncorks. The other end ends with the client, and so do all pushes.
                let _ = self.later.send(Vec::new());
            }
            let missed = self.in_flight.deliver(frames.into_iter());
            if !missed.is_empty() {
                (self.on_missed)(missed);
            }
            frames = rest;
        }
        if !frames.is_empty() {
            waiting.fetch_add(frames.len(), Ordering::Release);
            // The other end ends with the client, and so do all waits.
            let _ = self.later.send(frames);
        }
    }
}

impl LaterDeliveries {
    pub(crate) async fn run(mut self) {
        while let Some(frames) = self.later.recv().await {
            let mut frames = frames.into_iter().peekable();
            loop {
                // Behind the tasks that were woken.
                yield_now().await;
                if let Some(pushes) = &self.pushes {
                    pushes.uncork();
                }
                if frames.peek().is_none() {
                    break;
                }
                if let Some(pushes) = &self.pushes {
                    pushes.cork();
                }
                self.deliver(frames.by_ref().take(FRAMES_MAX).collect());
            }
        }
    }

    /// Delivers the waiting frames without letting other tasks run. For `benching.rs` and
    /// `fuzzing.rs`.
    pub(crate) fn run_once(&mut self) {
        while let Ok(frames) = self.later.try_recv() {
            self.deliver(frames);
        }
        self.shared.left.store(FRAMES_MAX, Ordering::Relaxed);
    }

    fn deliver(&self, frames: Vec<Frame>) {
        let count = frames.len();
        let missed = self.in_flight.deliver(frames.into_iter());
        if !missed.is_empty() {
            (self.on_missed)(missed);
        }
        let Shared { waiting, left } = &*self.shared;
        if waiting.load(Ordering::Relaxed) == count {
            left.store(FRAMES_MAX, Ordering::Relaxed);
        }
        waiting.fetch_sub(count, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::engine::in_flight::Stage;

    fn frame(id: usize) -> Frame {
        let frame = json!({
            "v": 1, "id": id.to_string(), "type": "result", "seq": 1, "attempt": 1, "data": id
        });
        serde_json::from_value(frame).unwrap()
    }

    #[tokio::test]
    async fn callers_run_between_the_deliveries_of_many_answers() {
        const COUNT: usize = 5 * FRAMES_MAX;
        let (in_flight, _withdrawn) = InFlight::new();
        let (deliveries, later) = Deliveries::new(in_flight.clone(), None, |_| ());
        // How many answers were delivered when each caller ran.
        let seen = Arc::new(Mutex::new(Vec::new()));
        let parked = Arc::new(AtomicUsize::new(0));
        let callers = (0..COUNT).map(|id| {
            let (guard, answer) = in_flight.wait_for(&id.to_string(), "key", Stage::Sent, None);
            let (seen, parked, in_flight) = (seen.clone(), parked.clone(), in_flight.clone());
            tokio::spawn(async move {
                parked.fetch_add(1, Ordering::SeqCst);
                answer.await.unwrap().unwrap();
                let open = (0..COUNT).filter(|id| in_flight.is_waiting(&id.to_string())).count();
                seen.lock().unwrap().push((id, COUNT - open));
                drop(guard);
            })
        });
        let callers: Vec<_> = callers.collect();
        while parked.load(Ordering::SeqCst) < COUNT {
            yield_now().await;
        }
        let task = tokio::spawn(later.run());
        deliveries.pass((0..COUNT).map(frame).collect());
        for caller in callers {
            caller.await.unwrap();
        }
        for (place, (id, delivered)) in seen.lock().unwrap().iter().enumerate() {
            assert!(delivered - place <= FRAMES_MAX, "{delivered} delivered when caller {id} ran");
        }
        drop(deliveries);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn single_answers_are_delivered_at_once_until_the_task_has_to_run() {
        let (in_flight, _withdrawn) = InFlight::new();
        let (deliveries, later) = Deliveries::new(in_flight.clone(), None, |_| ());
        let _task = tokio::spawn(later.run());
        for round in 0..3 {
            for id in 0..FRAMES_MAX {
                let id = id + round * FRAMES_MAX;
                let (_guard, mut answer) =
                    in_flight.wait_for(&id.to_string(), "key", Stage::Sent, None);
                deliveries.pass(vec![frame(id)]);
                if answer.try_recv().is_err() {
                    assert_eq!((id + 1) % (FRAMES_MAX + 1), 0, "{id}");
                    answer.await.unwrap().unwrap();
                }
            }
        }
    }

    #[tokio::test]
    async fn missed_frames_are_reported_by_both_ends() {
        let (in_flight, _withdrawn) = InFlight::new();
        let missed = Arc::new(Mutex::new(Vec::new()));
        let noted = missed.clone();
        let (deliveries, later) =
            Deliveries::new(in_flight.clone(), None, move |ids| noted.lock().unwrap().extend(ids));
        let _streams = ["0", "100"].map(|id| in_flight.join(id, "key", (1, 0)));
        deliveries.pass((0..=FRAMES_MAX).map(frame).collect());
        drop(deliveries);
        later.run().await;
        assert_eq!(*missed.lock().unwrap(), ["0", "100"]);
    }
}
