//! Protocol `rq`: python-rpc, which calls functions by jobs of rq.
//!
//! There is no connection to a caller: all of it is lists and hashes in one Redis, which
//! `redcall_store::rq` reads and writes. Inward, a gateway is an rq worker that turns each job into
//! a request of Redcall; outward, it is an rq client.
//!
//! | file | holds |
//! |---|---|
//! | `names.rs` | the names of python-rpc and rq, and the rule for response keys |
//! | `call.rs` | the call in the data of a job |
//! | `answer.rs` | the answer to a caller, written and read |
//! | `errors.rs` | errors as data of an answer |
//! | `job.rs` | writing a job for an rq worker |
//! | `inward.rs` | the loop that takes jobs: room, urgency, leases |
//! | `run.rs` | one taken job, from its data to its end |
//! | `detached.rs` | waiting for a call that outlives the process |
//! | `outward.rs` | the jobs of `serves` |

mod answer;
mod call;
mod detached;
mod errors;
mod inward;
mod job;
mod names;
mod outward;
mod run;

use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::{ProtocolSettings, RedisSettings, RqSettings, Settings};
use redcall_store::rq::{RqInbox, RqKeys};
use redcall_store::{CauseClass, Connector, StoreError};
use tokio::time::sleep;

use crate::door::{Door, Listeners};
use crate::error::DoorError;

/// The pause between attempts to reach rq's Redis at the start.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes the jobs of `take`, and has rq workers run those of `serves`, until the door drains.
pub(crate) async fn serve(door: Arc<Door>, _: Listeners) -> Result<(), DoorError> {
    let ProtocolSettings::Rq(settings) = &door.settings().protocol else {
        return Err(DoorError::Protocol("the settings are of another protocol".to_owned()));
    };
    let settings = Arc::new(settings.clone());
    let connector = connector(door.all_settings(), &settings, door.name())?;
    let taking = async {
        match settings.take.is_empty() {
            true => Ok(()),
            false => inward::run(&door, &settings, &connector).await,
        }
    };
    let serving = async {
        match door.settings().outward.serves.is_empty() {
            true => Ok(()),
            false => outward::run(&door, &settings, &connector).await,
        }
    };
    tokio::try_join!(taking, serving).map(|_| ())
}

/// Checks the address of rq's Redis and the certificates, without connecting.
///
/// # Errors
///
/// [`StoreError::Config`].
pub(crate) fn check(all: &Settings, settings: &RqSettings) -> Result<(), StoreError> {
    connector(all, settings, "").map(drop)
}

/// Connects to the rq's Redis of `url`; returns its address without the password. `None` if it is
/// `redis.url`.
///
/// # Errors
///
/// If it cannot be reached, or refuses the user or a script.
pub(crate) async fn check_redis(
    all: &Settings,
    settings: &RqSettings,
    name: &str,
) -> Result<Option<String>, StoreError> {
    if settings.url.is_none() {
        return Ok(None);
    }
    let connector = connector(all, settings, name)?;
    let address = connector.address().to_owned();
    let keys = RqKeys::new(&all.redis.prefix, name);
    drop(RqInbox::open(connector, keys, Duration::ZERO).await?);
    Ok(Some(address))
}

/// Returns the connector of rq's Redis for the door `name`: that of `url`, with the certificates
/// and timeouts of `[redis]`.
fn connector(all: &Settings, settings: &RqSettings, name: &str) -> Result<Connector, StoreError> {
    let mut redis: RedisSettings = all.redis.clone();
    if let Some(url) = &settings.url {
        url.reveal().clone_into(&mut redis.url);
    }
    Connector::new(&redis, &format!("redcall-gateway-{name}"))
}

/// Opens rq's Redis, as often as it takes: callers of other doors must not notice that it is away,
/// loads its data or refuses writes. Returns `None` if the door drains first.
async fn open<T, F>(door: &Door, attempt: impl Fn() -> F) -> Result<Option<T>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut was_reported = false;
    loop {
        let error = tokio::select! {
            () = door.draining() => return Ok(None),
            opened = attempt() => match opened {
                Ok(opened) => return Ok(Some(opened)),
                Err(error) if is_retried(&error) => error,
                Err(error) => return Err(error),
            },
        };
        if !was_reported {
            tracing::warn!(gateway = door.name(), %error, "retrying to connect to rq's Redis");
            was_reported = true;
        }
        tokio::select! {
            () = door.draining() => return Ok(None),
            () = sleep(PAUSE) => {}
        }
    }
}

/// Returns `false` for an error that only a change of the settings or of the user ends.
fn is_retried(error: &StoreError) -> bool {
    match error {
        StoreError::Config { .. } | StoreError::Ended | StoreError::Unsupported { .. } => false,
        StoreError::Unreachable { .. }
        | StoreError::Untrusted { .. }
        | StoreError::NoPrimary { .. }
        | StoreError::Lost(_)
        | StoreError::Unexpected(_) => true,
        StoreError::Refused(cause)
        | StoreError::Partly(cause)
        | StoreError::Script { source: cause, .. } => {
            !matches!(cause.class(), CauseClass::Login | CauseClass::Rights)
        }
    }
}
