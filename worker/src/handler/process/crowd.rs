//! A process that has several requests at once, as its handshake says.
//!
//! One task owns it: it writes what jobs ask, reads what the process says, and hands each line to
//! the job that it is about. What follows from a line happens in the job's own run, as where a
//! process has one job at a time (`child.rs`). While one of them does not take its next line, since
//! a part of its answer waits for a reader, the process's further lines wait as well.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use redcall_common::error::Code;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::child::{Asked, Heard, Process, UNREAD_TOKENS, died, heard, unreadable};
use super::wire::{self, Said};
use crate::handler::HandlerError;
use crate::handler::command::Bounds;
use crate::request::Request;
use crate::until::until;

/// A line for a job, as the process has said it.
type Told = mpsc::Sender<String>;

/// What jobs have the process's task do.
enum Order {
    /// Send this request, and tell what is said of it.
    Ask { id: u64, line: Vec<u8>, tell: Told },
    /// Send this notification.
    Write(Vec<u8>),
    /// Nobody wants to hear of this request any more.
    Forget(u64),
    /// No further request comes.
    Retire,
}

/// A process, as its jobs and its pool know it. Its task ends with it.
pub(super) struct Crowd {
    orders: mpsc::UnboundedSender<Order>,
    limit: usize,
    /// Slots that are taken. Written by the pool's lock holder and by slots that go.
    taken: AtomicUsize,
    /// Notified when a place is free.
    changed: Arc<Notify>,
    last_id: AtomicU64,
    /// Whether it gets further requests.
    retired: AtomicBool,
    /// Why it is gone. Written once, by its task.
    why: OnceLock<(Code, String)>,
    /// Closed when its task has ended, and the process with it.
    over: watch::Receiver<()>,
}

/// A request's place in it. Dropped before its end, the process gets no further ones.
pub(super) struct Slot {
    crowd: Arc<Crowd>,
    id: u64,
    is_open: bool,
}

impl Crowd {
    /// Has `process` do up to `limit` requests at once. `changed` is notified when one of their
    /// places is free, and when the process has ended. Before that, `ended` hears why it is gone,
    /// unless it was retired.
    pub(super) fn of(
        process: Process,
        limit: usize,
        changed: Arc<Notify>,
        ended: impl FnOnce(&str) + Send + 'static,
    ) -> Arc<Self> {
        let (orders, mut taken) = mpsc::unbounded_channel();
        let (alive, over) = watch::channel(());
        let crowd = Arc::new(Self {
            orders,
            limit,
            taken: AtomicUsize::new(0),
            changed: changed.clone(),
            last_id: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            why: OnceLock::new(),
            over,
        });
        let weak = Arc::downgrade(&crowd);
        tokio::spawn(async move {
            let mut desk = Desk::default();
            let (end, process) = drive(process, &mut taken, &mut desk).await;
            if let Some(crowd) = weak.upgrade() {
                crowd.retired.store(true, Ordering::Release);
                if let Some(end) = &end {
                    let _ = crowd.why.set(end.clone());
                }
            }
            // Only now its jobs hear of it, those whose requests it has not seen as well.
            drop((desk, taken));
            match end {
                // Killed: it may say anything.
                Some((_, message)) => {
                    drop(process);
                    ended(&message);
                }
                None => process.close().await,
            }
            // In this order: whoever waits for it may start the next one.
            drop(alive);
            changed.notify_waiters();
        });
        crowd
    }

    /// Returns `true` if its process has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over.has_changed().is_err()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.retired.load(Ordering::Acquire)
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// A place, if there is one. To be called under the pool's lock.
    pub(super) fn slot(self: &Arc<Self>) -> Option<Slot> {
        if !self.is_open() || self.taken() >= self.limit {
            return None;
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Slot { crowd: self.clone(), id, is_open: false })
    }

    /// Gives it no further requests; it ends with those that it has.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        let _ = self.orders.send(Order::Retire);
    }

    /// Returns when the process has ended.
    pub(super) async fn over(&self) {
        let mut over = self.over.clone();
        while over.changed().await.is_ok() {}
    }

    pub(super) fn lost(&self) -> HandlerError {
        let (code, message) = match self.why.get() {
            Some((code, message)) => (*code, message.clone()),
            None => (Code::WorkerLost, "its process is gone".to_owned()),
        };
        HandlerError::with_code(code, message)
    }
}

impl Slot {
    /// Asks for the job.
    pub(super) async fn ask(&mut self, request: &Request, bounds: Bounds) -> Asked {
        let id = self.id;
        let (tell, mut told) = mpsc::channel(1);
        let order = Order::Ask { id, line: wire::request(id, request), tell };
        if self.crowd.orders.send(order).is_err() {
            return Asked::Broken(self.crowd.lost());
        }
        self.is_open = true;
        let grace = bounds.cancel_grace;
        let mut give_up_at = None;
        loop {
            tokio::select! {
                line = told.recv() => {
                    let Some(line) = line else {
                        self.is_open = false;
                        return Asked::Broken(self.crowd.lost());
                    };
                    match heard(id, wire::read(&line), request, bounds).await {
                        Ok(Heard::Nothing) => {}
                        Ok(Heard::Token(line)) => {
                            let _ = self.crowd.orders.send(Order::Write(line));
                        }
                        Ok(Heard::Ending(ending)) => {
                            self.is_open = false;
                            return Asked::Ended(ending);
                        }
                        Err(error) => return Asked::Broken(error),
                    }
                }
                () = request.cancelled(), if give_up_at.is_none() => {
                    let _ = self.crowd.orders.send(Order::Write(wire::cancel(id)));
                    give_up_at = Some(Instant::now() + grace / 2);
                }
                () = until(give_up_at) => {
                    let message = "the process was asked to end the job, and did not";
                    return Asked::Broken(HandlerError::with_code(Code::Cancelled, message));
                }
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_open {
            // Nobody knows what it is doing: it ends with the others that it has.
            let _ = self.crowd.orders.send(Order::Forget(self.id));
            self.crowd.retire();
        }
        self.crowd.taken.fetch_sub(1, Ordering::AcqRel);
        self.crowd.changed.notify_waiters();
    }
}

/// What the task of a process has at hand.
#[derive(Default)]
struct Desk {
    /// Jobs that wait for what is said of their requests.
    asked: HashMap<u64, Told>,
    /// Requests that were forgotten: what is still said of them is passed over.
    forgotten: HashSet<u64>,
    unwritten: Vec<u8>,
    /// How many bytes of notifications are among them, at most.
    tokens: usize,
    /// A line that its job has not taken yet.
    held: Option<(Told, String)>,
    retired: bool,
    /// Nothing can be ordered any more.
    closed: bool,
}

impl Desk {
    fn order(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Ask { id, line, tell }) => {
                self.asked.insert(id, tell);
                self.unwritten.extend(line);
            }
            Some(Order::Write(line)) => {
                self.tokens += line.len();
                self.unwritten.extend(line);
            }
            Some(Order::Forget(id)) => {
                if self.asked.remove(&id).is_some() {
                    self.forgotten.insert(id);
                }
            }
            Some(Order::Retire) => self.retired = true,
            None => (self.retired, self.closed) = (true, true),
        }
    }

    /// Hands a line to its job. Returns `true` if it counts for the pace of the process.
    fn said(&mut self, line: String) -> Result<bool, String> {
        let said = wire::read(&line)?;
        let (is_paced, ends) = (said.is_paced(), matches!(said, Said::Answer(..)));
        let Some(id) = said.id() else { return Ok(is_paced) };
        if self.forgotten.contains(&id) {
            if ends {
                self.forgotten.remove(&id);
            }
            return Ok(is_paced);
        }
        let told = if ends { self.asked.remove(&id) } else { self.asked.get(&id).cloned() };
        let told = told.ok_or_else(|| format!("an answer to {id}, which it was not asked"))?;
        self.held = Some((told, line));
        Ok(is_paced)
    }
}

/// Serves the jobs of a process until it is gone, or retired and without any. Why it is gone.
async fn drive(
    mut process: Process,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    desk: &mut Desk,
) -> (Option<(Code, String)>, Process) {
    loop {
        if desk.retired && desk.asked.is_empty() && desk.held.is_none() {
            return (None, process);
        }
        let paused_until = process.pace.next_at();
        let Process { stdin, lines, .. } = &mut process;
        let has_read = desk.tokens < UNREAD_TOKENS && paused_until.is_none();
        let said = tokio::select! {
            order = orders.recv(), if !desk.closed => {
                desk.order(order);
                continue;
            }
            () = taken(&desk.held), if desk.held.is_some() => {
                if let Some((told, line)) = desk.held.take() {
                    // There is room, or its job has gone.
                    let _ = told.try_send(line);
                }
                continue;
            }
            written = stdin.write(&desk.unwritten), if !desk.unwritten.is_empty() => {
                match written {
                    Ok(written) => drop(desk.unwritten.drain(..written)),
                    // It has closed its stdin. What it still says is read.
                    Err(_) => desk.unwritten.clear(),
                }
                if desk.unwritten.is_empty() {
                    desk.tokens = 0;
                }
                continue;
            }
            () = until(paused_until) => continue,
            line = lines.next(), if desk.held.is_none() && has_read => line,
        };
        let end = match said {
            None => (Code::WorkerLost, died(&mut process).await),
            Some(Err(error)) => {
                (Code::HandlerFailed, unreadable(process.bounds.max_answer, &error))
            }
            Some(Ok(line)) => match desk.said(line) {
                Ok(is_paced) => {
                    if is_paced {
                        process.pace.spend();
                    }
                    continue;
                }
                Err(what) => (Code::HandlerFailed, format!("the process printed {what}")),
            },
        };
        return (Some(end), process);
    }
}

/// Returns when the job of a held line can take it.
async fn taken(held: &Option<(Told, String)>) {
    if let Some((told, _)) = held {
        let _ = told.reserve().await;
    }
}
