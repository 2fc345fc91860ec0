//! The worker processes of a run: started, held where they are to be struck, killed, stopped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::timeout;

use crate::history::Step;
use crate::work::Post;

/// How long it may take until a job comes to be held.
const HOLD_TIMEOUT: Duration = Duration::from_secs(5);

/// The time that a worker may take from its start until it has checked its rights.
const RIGHTS_TIMEOUT: Duration = Duration::from_secs(10);

/// A job that is held inside its worker.
pub(crate) struct Held {
    pub(crate) job: String,
    pub(crate) run: String,
}

/// The places of a run's workers. Dropped, all of them are killed.
pub(crate) struct WorkerPool {
    program: (PathBuf, Vec<String>),
    post: Post,
    /// An attack locks the place of the worker that it attacks.
    places: Vec<Arc<Mutex<WorkerHandle>>>,
    /// `true` while the workers' logs are read; watched by the tasks that read them.
    reads: watch::Sender<bool>,
    /// `true` if every fourth worker logs to a full device; and the number of workers started.
    full_logs: bool,
    started: AtomicU32,
    /// When the workers' user lacked a right: a worker that starts meanwhile ends with an error.
    lacks: std::sync::Mutex<Vec<(Instant, Option<Instant>)>>,
}

/// One worker process.
pub(crate) struct WorkerHandle {
    child: Child,
    control: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// How many orders to hold a job it has had.
    holds: u64,
    pub(crate) pid: u32,
    began: Instant,
    /// `true` if its log goes to a full device.
    pub(crate) full_log: bool,
}

impl WorkerPool {
    pub(crate) fn start(
        program: (PathBuf, Vec<String>),
        post: Post,
        size: usize,
        full_logs: bool,
    ) -> io::Result<Self> {
        let (places, reads, started) = (Vec::new(), watch::Sender::new(true), AtomicU32::new(0));
        let lacks = std::sync::Mutex::default();
        let mut pool = Self { program, post, places, reads, full_logs, started, lacks };
        for _ in 0..size {
            let worker = pool.worker_handle()?;
            pool.places.push(Arc::new(Mutex::new(worker)));
        }
        Ok(pool)
    }

    /// A new process.
    pub(crate) fn worker_handle(&self) -> io::Result<WorkerHandle> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let full = || OpenOptions::new().write(true).open("/dev/full");
        // Not everywhere there is one.
        let full = (self.full_logs && number % 4 == 3).then(full).and_then(Result::ok);
        let full_log = full.is_some();
        let (program, args) = &self.program;
        let mut child = Command::new(program)
            .args(args)
            .args(self.post.args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(full.map_or_else(Stdio::piped, Stdio::from))
            // Interrupts of the terminal are the run's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.id());
        let (Some(control), Some(output), Some(pid)) = pipes else {
            return Err(io::Error::other("a worker has no pipes"));
        };
        if let Some(stderr) = child.stderr.take() {
            let path = self.post.folder.join("workers.log");
            let log = OpenOptions::new().create(true).append(true).open(path)?;
            tokio::spawn(read_log(stderr, log, self.reads.subscribe()));
        }
        let output = BufReader::new(output).lines();
        Ok(WorkerHandle { child, control, output, holds: 0, pid, began: Instant::now(), full_log })
    }

    /// Returns a worker that no attack has locked, searching from `first`; `None` if too few
    /// workers would be left to take over.
    pub(crate) fn free(&self, first: usize) -> Option<OwnedMutexGuard<WorkerHandle>> {
        let order = (0..self.places.len()).map(|at| (first + at) % self.places.len());
        let mut free: Vec<_> =
            order.filter_map(|at| self.places[at].clone().try_lock_owned().ok()).collect();
        (free.len() > 1).then(|| free.swap_remove(0))
    }

    /// Reads the workers' logs, or leaves them unread.
    pub(crate) fn read_logs(&self, read: bool) {
        self.reads.send_replace(read);
    }

    /// Returns the process ids of the workers whose log goes to a full device.
    pub(crate) async fn with_full_logs(&self) -> Vec<u32> {
        let mut full = Vec::new();
        for place in &self.places {
            let worker = place.lock().await;
            full.extend(worker.full_log.then_some(worker.pid));
        }
        full
    }

    /// Returns the process ids of workers that ended without an order.
    pub(crate) async fn ended_early(&self) -> Vec<u32> {
        let mut fallen = Vec::new();
        for place in &self.places {
            let mut worker = place.lock().await;
            if worker.has_ended() && !self.was_refused(worker.began) {
                fallen.push(worker.pid);
            }
        }
        fallen
    }

    /// The workers' user lacks a right from now on, or has it again.
    pub(crate) fn lacks_a_right(&self, lacks: bool) {
        let mut all = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        if lacks {
            all.push((Instant::now(), None));
        } else if let Some((_, to)) = all.last_mut() {
            to.get_or_insert_with(Instant::now);
        }
    }

    /// Returns `true` if a worker that began then may have met a right that was missing.
    fn was_refused(&self, began: Instant) -> bool {
        let all = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .any(|(from, to)| began + RIGHTS_TIMEOUT > *from && to.is_none_or(|to| began < to))
    }

    /// Starts a worker again that has ended since a right was missing, as its supervisor would.
    pub(crate) fn start_again(&self, worker: &mut WorkerHandle) -> io::Result<()> {
        if worker.has_ended() && self.was_refused(worker.began) {
            *worker = self.worker_handle()?;
        }
        Ok(())
    }
}

/// Copies a worker's log into the run's file, while logs are to be read.
async fn read_log(mut from: ChildStderr, mut log: File, mut reads: watch::Receiver<bool>) {
    let mut buffer = vec![0; 65_536];
    // If the run ends while it is not read, so does this.
    while reads.wait_for(|reads| *reads).await.is_ok() {
        match from.read(&mut buffer).await {
            // A failed write here does not concern the worker.
            Ok(count @ 1..) => drop(log.write_all(&buffer[..count])),
            Ok(0) | Err(_) => return,
        }
    }
}

impl WorkerHandle {
    /// Holds the next job that comes to `step`; `None` if none does in time.
    pub(crate) async fn hold(&mut self, step: Step) -> Option<Held> {
        self.holds += 1;
        let place = match step {
            Step::Young => "young",
            Step::In => "in",
            Step::After => "after",
        };
        let order = format!("hold {} {place}\n", self.holds);
        self.control.write_all(order.as_bytes()).await.ok()?;
        match timeout(HOLD_TIMEOUT, self.held()).await {
            Ok(held) => held,
            Err(_) => {
                self.go().await;
                None
            }
        }
    }

    /// Returns the job that the last order holds; `None` if the process has ended.
    async fn held(&mut self) -> Option<Held> {
        let last = self.holds.to_string();
        loop {
            let line = self.output.next_line().await.ok()??;
            // An earlier one may have been met just when it was taken back.
            if let ["held", order, job, run] = *line.split(' ').collect::<Vec<_>>()
                && order == last
            {
                return Some(Held { job: job.to_owned(), run: run.to_owned() });
            }
        }
    }

    /// Releases the held job, as soon as the process runs.
    pub(crate) async fn go(&mut self) {
        // A dead process needs no orders.
        let _ = self.control.write_all(b"go\n").await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // Not waited for yet: the id is still its own.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Kills it, and waits until it is dead.
    pub(crate) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}
