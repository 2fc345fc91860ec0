//! Commands to devices. A device gets one command at a time; others wait in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redcall_client::Code;
use redcall_common::result_kind::NONCE;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::door::{Failure, ForeignJob, Peer, Stream};
use crate::zmtp::command::{COMMAND, CUSTOM, Command};
use crate::zmtp::json::is_whole;
use crate::zmtp::link::Link;
use crate::zmtp::names::Names;
use crate::zmtp::reply;
use crate::zmtp::wire::address::ReturnPath;
use crate::zmtp::wire::{SocketType, Violation, encode};

/// How much earlier than the job's time the wait for a device ends, so that its error is the
/// device's.
const SLACK: Duration = Duration::from_millis(20);

/// The most that a device may take to be connected and ready. It is less if a command has little
/// time, so that each device is tried.
const READY: Duration = Duration::from_secs(2);

/// The devices of a door.
pub(super) struct Devices {
    all: Vec<Arc<Device>>,
    names: Arc<Names>,
    /// The device of the next command.
    next: AtomicUsize,
}

struct Device {
    target: String,
    largest: usize,
    /// `None` until it is connected, and while a command runs. Locked in order of arrival.
    link: Mutex<Option<Link>>,
    /// The nonce of the next command without one.
    next_nonce: AtomicU64,
}

impl Devices {
    pub(super) fn new(names: Arc<Names>, targets: &[String], largest: usize) -> Self {
        let device = |target: &String| {
            let (target, link) = (target.clone(), Mutex::default());
            Arc::new(Device { target, largest, link, next_nonce: AtomicU64::new(1) })
        };
        Self { all: targets.iter().map(device).collect(), names, next: AtomicUsize::new(0) }
    }

    /// Returns the devices in the order in which a command tries them: each begins with another.
    fn in_turn(&self) -> Vec<Arc<Device>> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let mut all = self.all.clone();
        all.rotate_left(first);
        all
    }
}

impl Peer for Devices {
    fn run(&self, job: ForeignJob) -> BoxFuture<'static, Result<Box<RawValue>, Failure>> {
        let (devices, number) = (self.in_turn(), self.names.number_of(job.name()));
        async move {
            let number = number.ok_or_else(|| Failure::unknown_job(job.name()))?;
            let left = job.left().saturating_sub(SLACK);
            let ready = READY.min(left / u32::try_from(devices.len().max(1)).unwrap_or(u32::MAX));
            let attempts = async {
                let mut refused = "there is no device".to_owned();
                for device in devices {
                    match device.request(&job, number, ready).await {
                        Ok(answer) => return answer,
                        Err(error) => refused = error.to_string(),
                    }
                }
                Err(Failure::new(Code::Unavailable, format!("no device: {refused}")))
            };
            let late = || Failure::new(Code::Unavailable, "the device did not answer in time");
            timeout(left, attempts).await.unwrap_or_else(|_| Err(late()))
        }
        .boxed()
    }
}

impl Device {
    /// Sends a command and waits for its answer. Dropping the future closes the connection: a late
    /// answer must not become that of the next command.
    ///
    /// # Errors
    ///
    /// If the device cannot be reached, or is not ready within `ready`: nothing was sent.
    async fn request(
        &self,
        job: &ForeignJob,
        number: i64,
        ready: Duration,
    ) -> Result<Result<Box<RawValue>, Failure>, Violation> {
        // Devices expect no negative one.
        let own = job.headers().get(NONCE);
        let own = own.filter(|nonce| is_whole(nonce) && !nonce.starts_with('-'));
        let nonce = match own {
            Some(nonce) => nonce.clone(),
            None => self.next_nonce.fetch_add(1, Ordering::Relaxed).to_string(),
        };
        let mut slot = self.link.lock().await;
        // A device that has closed the connection since is noticed now.
        let idle = slot.take().and_then(|mut link| {
            let is_quiet = link.message().now_or_never().is_none();
            is_quiet.then_some(link)
        });
        let mut link = match idle {
            Some(link) => link,
            None => {
                let connecting = async {
                    let stream = Stream::connect(&self.target).await?;
                    Link::open(SocketType::Req, stream, self.largest).await
                };
                let late = || io::Error::new(io::ErrorKind::TimedOut, "the device is not ready");
                timeout(ready, connecting).await.unwrap_or_else(|_| Err(late().into()))?
            }
        };
        let is_custom =
            job.headers().get(COMMAND).is_some_and(|number| *number == CUSTOM.to_string());
        let command = Command::write(number, is_custom, &nonce, job.data());
        let answered = exchange(&mut link, &command, &nonce).await;
        if !matches!(answered, Err(None)) {
            *slot = Some(link);
        }
        let lost = || Failure::new(Code::Unavailable, "the connection to the device has ended");
        Ok(answered.map_err(|failure| failure.unwrap_or_else(lost)))
    }
}

/// Sends a command and reads its answer.
///
/// # Errors
///
/// The error of the device; `None` if the connection is of no use any more.
async fn exchange(
    link: &mut Link,
    command: &str,
    nonce: &str,
) -> Result<Box<RawValue>, Option<Failure>> {
    let message = encode::message(&[b"", command.as_bytes()]);
    link.send(&message).await.map_err(|_| None)?;
    let frames = link.message().await.and_then(Result::ok).ok_or(None)?;
    let (_, body) = ReturnPath::split(frames).ok_or(None)?;
    reply::read(body.first().ok_or(None)?, nonce)
}
