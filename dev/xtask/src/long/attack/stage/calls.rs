//! The legitimate calls: 200 a second, each by RPUSH and BLPOP as in docs/reference/protocol.md.
//!
//! A call's time begins when it was due, so that calls that had to wait for others count in full.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miette::miette;
use redcall_common::auth::{Call, Claims, Keyring};
use redcall_common::frame::Frame;
use redcall_common::keys::{Keys, QueueKeys};

use crate::long::stage::wire::{Reply, Wire};

/// How many calls a second there are.
const PER_SECOND: u32 = 200;
/// How many callers share them.
pub(crate) const CALLERS: u32 = 20;
/// How long a caller waits.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long late answers are waited for after the attack.
const GRACE: Duration = Duration::from_secs(6);

/// The outcomes of all calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes {
    /// How long each answered one took, ms.
    pub(crate) times: Vec<f64>,
    /// Those that ended with an error.
    pub(crate) failed: usize,
    /// The calls that their callers saw refused.
    pub(crate) refused: usize,
    /// Those that were not answered within their time, which begins when they were due.
    pub(crate) late: usize,
    /// Those of them that were not answered later either.
    pub(crate) unanswered: usize,
    /// The number of unsigned frames that were ignored.
    pub(crate) forged: usize,
}

impl Outcomes {
    /// The time within which this share of the answered calls was answered, ms.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut times = self.times.clone();
        times.sort_by(f64::total_cmp);
        let at = (times.len() as f64 * share) as usize;
        times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

/// A job that legitimate callers call: its name, its data, and whether it is to fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) data: &'static str,
    pub(crate) fails: bool,
}

/// The job that is called by default.
pub(crate) const ECHO: Job = Job { name: "echo", data: "1", fails: false };

/// Callers at work.
pub(crate) struct Calls {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<miette::Result<()>>>,
}

struct Shared {
    keys: QueueKeys,
    keyring: Option<Keyring>,
    jobs: Vec<Job>,
    outcomes: Mutex<Outcomes>,
    late: Mutex<Vec<String>>,
}

impl Calls {
    /// Begins to call these jobs in turns, signed if there is a keyring.
    pub(crate) fn start(
        socket: &Path,
        keyring: Option<Keyring>,
        jobs: &[Job],
    ) -> miette::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            keys: Keys::new("redcall").of("default"),
            keyring,
            jobs: jobs.to_vec(),
            outcomes: Mutex::default(),
            late: Mutex::default(),
        });
        let mut callers = Vec::new();
        for caller in 0..CALLERS {
            let (wire, stop) = (Wire::connect(socket)?, Arc::clone(&stop));
            let shared = Arc::clone(&shared);
            callers.push(std::thread::spawn(move || shared.call(wire, caller, &stop)));
        }
        Ok(Self { stop, shared, callers })
    }

    /// Ends the calls, and returns their outcomes.
    pub(crate) fn end(self, wire: &mut Wire) -> miette::Result<Outcomes> {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.join().map_err(|_| miette!("a caller has panicked"))??;
        }
        let mut late = locked(&self.shared.late).clone();
        let since = Instant::now();
        loop {
            let mut left = Vec::new();
            for key in late {
                if wire.number(&["EXISTS", &key])? == 0 {
                    left.push(key);
                }
            }
            late = left;
            if late.is_empty() || since.elapsed() > GRACE {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut outcomes = locked(&self.shared.outcomes).clone();
        outcomes.unanswered = late.len();
        Ok(outcomes)
    }
}

impl Shared {
    fn call(&self, mut wire: Wire, caller: u32, stop: &AtomicBool) -> miette::Result<()> {
        let pause = Duration::from_secs(1) * CALLERS / PER_SECOND;
        let mut due = Instant::now() + pause * caller / CALLERS;
        for number in 0_usize.. {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let job = self.jobs[(number + caller as usize) % self.jobs.len()];
            let id = id_of(caller, number);
            let key = self.keys.response(&id);
            let request = self.request(job, &id, &key);
            let pushed =
                wire.request(&[b"RPUSH", self.keys.queue().as_bytes(), request.as_bytes()])?;
            if matches!(pushed, Reply::Error(_)) {
                locked(&self.outcomes).refused += 1;
            } else {
                let reply = self.answer(&mut wire, &key)?;
                self.note(job, key, &reply, due);
            }
            due += pause;
        }
        Ok(())
    }

    /// Waits for the answer. Where calls are signed, frames that are not are passed over.
    fn answer(&self, wire: &mut Wire, key: &str) -> miette::Result<Reply> {
        let until = Instant::now() + TIMEOUT;
        loop {
            // Zero would be without end.
            let left = until.saturating_duration_since(Instant::now()).as_secs_f64().max(0.001);
            let reply = wire.request(&[b"BLPOP", key.as_bytes(), left.to_string().as_bytes()])?;
            if !self.is_forged(key, &reply) {
                return Ok(reply);
            }
            locked(&self.outcomes).forged += 1;
        }
    }

    fn is_forged(&self, key: &str, reply: &Reply) -> bool {
        let (Some(keyring), Reply::All(popped)) = (&self.keyring, reply) else { return false };
        let frame = popped.get(1).and_then(Reply::text).unwrap_or_default();
        let frame = serde_json::from_str::<Frame>(&frame);
        !frame.is_ok_and(|frame| keyring.judge(&frame, key, Call::Known(None)).is_ok())
    }

    fn note(&self, job: Job, key: String, reply: &Reply, due: Instant) {
        let mut outcomes = locked(&self.outcomes);
        match reply {
            Reply::All(frame) => {
                let frame = frame.get(1).and_then(Reply::text).unwrap_or_default();
                let failed = frame.contains(r#""error":"#);
                if failed != job.fails {
                    outcomes.failed += 1;
                } else if !job.fails {
                    let took = due.elapsed();
                    outcomes.times.push(took.as_secs_f64() * 1000.0);
                    outcomes.late += usize::from(took > TIMEOUT);
                }
            }
            _ => {
                outcomes.late += 1;
                drop(outcomes);
                locked(&self.late).push(key);
            }
        }
    }

    fn request(&self, job: Job, id: &str, key: &str) -> String {
        let Job { name, data, .. } = job;
        let token = self.keyring.as_ref().and_then(|keyring| {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let expires_at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX) + 600_000;
            let headers = BTreeMap::new();
            keyring.sign(&Claims {
                id,
                name,
                queue: "default",
                data,
                response_key: Some(key),
                notify: None,
                idempotency_key: None,
                headers: &headers,
                budget_ms: None,
                expires_at,
            })
        });
        let auth = token.and_then(|token| serde_json::to_string(&token).ok());
        let auth = auth.map(|token| format!(r#","auth":{token}"#)).unwrap_or_default();
        format!(r#"{{"id":"{id}","name":"{name}","response_key":"{key}","data":{data}{auth}}}"#)
    }
}

/// The id of a caller's call of this number.
pub(crate) fn id_of(caller: u32, number: usize) -> String {
    format!("legitimate-{caller}-{number}")
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
