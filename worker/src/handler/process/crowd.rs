//! A process with several concurrent requests, by its handshake.
//!
//! One task owns it: it writes requests, reads messages, and passes each line to the job that it
//! concerns. The job's own run handles the line, as for processes with one job at a time
//! (`child.rs`). While one job does not take its next line, because a part of its answer waits for
//! a reader, the process's further lines wait as well.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use redcall_common::error::Code;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::child::{LineEffect, Process, RequestEnd, UNREAD_TOKENS, died, handle_line, unreadable};
use super::wire::{self, Incoming};
use crate::handler::bounds::Bounds;
use crate::handler::error::HandlerError;
use crate::run::request::Request;
use crate::time::until;

/// The channel for lines to a job.
type LineSender = mpsc::Sender<String>;

/// A command from jobs to the process's task.
enum TaskCommand {
    /// Sends this request, and passes on the lines about it.
    SendRequest { id: u64, line: Vec<u8>, sender: LineSender },
    /// Sends this notification.
    Write(Vec<u8>),
    /// Ignores further lines about this request.
    Forget(u64),
    /// Takes no further requests.
    Retire,
}

/// A process, as its jobs and its pool see it. Dropping it ends its task.
pub(super) struct Crowd {
    commands: mpsc::UnboundedSender<TaskCommand>,
    limit: usize,
    /// Used request slots. Written by the pool's lock holder, and by slots when dropped.
    taken: AtomicUsize,
    /// Notified when a request slot becomes free.
    changed: Arc<Notify>,
    last_id: AtomicU64,
    /// `true` if it gets no further requests.
    retired: AtomicBool,
    /// Why it ended. Written once, by its task.
    why: OnceLock<(Code, String)>,
    /// Closed when its task and the process have ended.
    over: watch::Receiver<()>,
}

/// A request's slot in it. If it is dropped before its end, the process gets no further requests.
pub(super) struct Slot {
    crowd: Arc<Crowd>,
    id: u64,
    is_open: bool,
}

impl Crowd {
    /// Starts the task of `process`, with up to `limit` concurrent requests. `changed` is notified
    /// when a slot becomes free and when the process has ended. Before that, `ended` is called with
    /// the reason of an unexpected end.
    pub(super) fn of(
        process: Process,
        limit: usize,
        changed: Arc<Notify>,
        ended: impl FnOnce(&str) + Send + 'static,
    ) -> Arc<Self> {
        let (commands, mut taken) = mpsc::unbounded_channel();
        let (alive, over) = watch::channel(());
        let crowd = Arc::new(Self {
            commands,
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
            let mut task = TaskState::default();
            let (end, process) = drive(process, &mut taken, &mut task).await;
            if let Some(crowd) = weak.upgrade() {
                crowd.retired.store(true, Ordering::Release);
                if let Some(end) = &end {
                    let _ = crowd.why.set(end.clone());
                }
            }
            // Only now its jobs are notified, including those whose requests it has not read.
            drop((task, taken));
            match end {
                // Killed: its further output is ignored.
                Some((_, message)) => {
                    drop(process);
                    ended(&message);
                }
                None => process.close().await,
            }
            // In this order: a waiting pool may then start the next process.
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

    /// Returns a slot, if one is free. To be called under the pool's lock.
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
        let _ = self.commands.send(TaskCommand::Retire);
    }

    /// Returns when the process has ended.
    pub(super) async fn over(&self) {
        let mut over = self.over.clone();
        while over.changed().await.is_ok() {}
    }

    pub(super) fn lost(&self) -> HandlerError {
        let (code, message) = match self.why.get() {
            Some((code, message)) => (*code, message.clone()),
            None => (Code::WorkerLost, "the process of the job has ended".to_owned()),
        };
        HandlerError::with_code(code, message)
    }
}

impl Slot {
    /// Sends the job's request, and waits for its end.
    pub(super) async fn send_request(&mut self, request: &Request, bounds: Bounds) -> RequestEnd {
        let id = self.id;
        let (sender, mut lines) = mpsc::channel(1);
        let command = TaskCommand::SendRequest { id, line: wire::request(id, request), sender };
        if self.crowd.commands.send(command).is_err() {
            return RequestEnd::Broken(self.crowd.lost());
        }
        self.is_open = true;
        let grace = bounds.cancel_grace;
        let mut give_up_at = None;
        loop {
            tokio::select! {
                line = lines.recv() => {
                    let Some(line) = line else {
                        self.is_open = false;
                        return RequestEnd::Broken(self.crowd.lost());
                    };
                    match handle_line(id, wire::read(&line), request, bounds).await {
                        Ok(LineEffect::Nothing) => {}
                        Ok(LineEffect::Token(line)) => {
                            let _ = self.crowd.commands.send(TaskCommand::Write(line));
                        }
                        Ok(LineEffect::Done(result)) => {
                            self.is_open = false;
                            return RequestEnd::Done(result);
                        }
                        Err(error) => return RequestEnd::Broken(error),
                    }
                }
                () = request.cancelled(), if give_up_at.is_none() => {
                    let _ = self.crowd.commands.send(TaskCommand::Write(wire::cancel(id)));
                    give_up_at = Some(Instant::now() + grace / 2);
                }
                () = until(give_up_at) => {
                    let message = "the process ignored `$/cancel` for worker.cancel_grace";
                    return RequestEnd::Broken(HandlerError::with_code(Code::Cancelled, message));
                }
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_open {
            // Its state is unknown: it ends with its other requests.
            let _ = self.crowd.commands.send(TaskCommand::Forget(self.id));
            self.crowd.retire();
        }
        self.crowd.taken.fetch_sub(1, Ordering::AcqRel);
        self.crowd.changed.notify_waiters();
    }
}

/// The state of a process's task.
#[derive(Default)]
struct TaskState {
    /// Jobs that wait for lines about their requests.
    waiting: HashMap<u64, LineSender>,
    /// Forgotten requests: further lines about them are ignored.
    forgotten: HashSet<u64>,
    unwritten: Vec<u8>,
    /// Bytes of notifications among them, at most.
    tokens: usize,
    /// A line that its job has not taken yet.
    held: Option<(LineSender, String)>,
    retired: bool,
    /// No further commands come.
    closed: bool,
}

impl TaskState {
    fn command(&mut self, command: Option<TaskCommand>) {
        match command {
            Some(TaskCommand::SendRequest { id, line, sender }) => {
                self.waiting.insert(id, sender);
                self.unwritten.extend(line);
            }
            Some(TaskCommand::Write(line)) => {
                self.tokens += line.len();
                self.unwritten.extend(line);
            }
            Some(TaskCommand::Forget(id)) => {
                if self.waiting.remove(&id).is_some() {
                    self.forgotten.insert(id);
                }
            }
            Some(TaskCommand::Retire) => self.retired = true,
            None => (self.retired, self.closed) = (true, true),
        }
    }

    /// Passes a line to its job. Returns `true` if it counts for the rate of the process.
    fn message(&mut self, line: String) -> Result<bool, String> {
        let message = wire::read(&line)?;
        let (is_paced, ends) = (message.is_paced(), matches!(message, Incoming::Answer(..)));
        let Some(id) = message.id() else { return Ok(is_paced) };
        if self.forgotten.contains(&id) {
            if ends {
                self.forgotten.remove(&id);
            }
            return Ok(is_paced);
        }
        let sender = if ends { self.waiting.remove(&id) } else { self.waiting.get(&id).cloned() };
        let sender = sender.ok_or_else(|| format!("an answer to {id} without a request"))?;
        self.held = Some((sender, line));
        Ok(is_paced)
    }
}

/// Serves the jobs of a process until it has ended, or is retired and idle. Returns why it ended.
async fn drive(
    mut process: Process,
    commands: &mut mpsc::UnboundedReceiver<TaskCommand>,
    task: &mut TaskState,
) -> (Option<(Code, String)>, Process) {
    loop {
        if task.retired && task.waiting.is_empty() && task.held.is_none() {
            return (None, process);
        }
        let paused_until = process.pace.next_at();
        let Process { stdin, lines, .. } = &mut process;
        let has_read = task.tokens < UNREAD_TOKENS && paused_until.is_none();
        let message = tokio::select! {
            command = commands.recv(), if !task.closed => {
                task.command(command);
                continue;
            }
            () = taken(&task.held), if task.held.is_some() => {
                if let Some((sender, line)) = task.held.take() {
                    // The channel has capacity, or its job has ended.
                    let _ = sender.try_send(line);
                }
                continue;
            }
            written = stdin.write(&task.unwritten), if !task.unwritten.is_empty() => {
                match written {
                    Ok(written) => drop(task.unwritten.drain(..written)),
                    // The process has closed its stdin. Its output is still read.
                    Err(_) => task.unwritten.clear(),
                }
                if task.unwritten.is_empty() {
                    task.tokens = 0;
                }
                continue;
            }
            () = until(paused_until) => continue,
            line = lines.next(), if task.held.is_none() && has_read => line,
        };
        let end = match message {
            None => (Code::WorkerLost, died(&mut process).await),
            Some(Err(error)) => {
                (Code::HandlerFailed, unreadable(process.bounds.max_answer, &error))
            }
            Some(Ok(line)) => match task.message(line) {
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

/// Completes when the job of a held line can take it.
async fn taken(held: &Option<(LineSender, String)>) {
    if let Some((sender, _)) = held {
        let _ = sender.reserve().await;
    }
}
