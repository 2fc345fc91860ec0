//! The timeout of a verb: `--timeout` includes connecting, authentication and loading of scripts;
//! the rest is left for the request.

use std::time::{Duration, Instant};

use redcall_client::{Client, Code, Settings};
use redcall_common::report::Problem;
use redcall_store::Connector;
use tokio::time::timeout;

use crate::verbs::Verb;
use redcall_common::failure::{Failure, UNREACHABLE, json};

/// Minimum time left for a verb after connecting.
const LEFT_MIN: Duration = Duration::from_millis(1);

/// Connects within the timeout of `verb`, and reduces the timeout by the time used.
pub(crate) async fn connect(verb: &mut Verb, settings: &Settings) -> Result<Client, Failure> {
    let started = Instant::now();
    let connecting = Client::from_settings(settings);
    let connected = match connect_timeout(verb) {
        Some(limit) => timeout(limit, connecting).await.map_err(|_| too_slow(limit, settings))?,
        None => connecting.await,
    };
    let client = connected.map_err(|error| Failure::from(&error))?;
    if let Some(left) = time(verb) {
        *left = left.saturating_sub(started.elapsed()).max(LEFT_MIN);
    }
    Ok(client)
}

/// Returns the timeout for connecting.
fn connect_timeout(verb: &mut Verb) -> Option<Duration> {
    match verb {
        Verb::Follow(follow) => follow.time(),
        // The timeout of a delayed call begins when it is due, but also limits the enqueue.
        Verb::Call(call) => call.time().copied(),
        verb => time(verb).copied(),
    }
}

/// Returns the timeout that includes connecting.
fn time(verb: &mut Verb) -> Option<&mut Duration> {
    match verb {
        Verb::Call(call) if !call.is_delayed() => call.time(),
        Verb::Service(service) => service.time(),
        Verb::Monitor(monitor) => monitor.time(),
        // Those of `follow` and `doctor` apply to each frame and each call.
        _ => None,
    }
}

fn too_slow(limit: Duration, settings: &Settings) -> Failure {
    let address = Connector::new(&settings.redis, "redcall");
    let address = address.map_or_else(|_| "an address".to_owned(), |it| it.address().to_owned());
    let message =
        format!("Redis at {address} did not accept the connection within {limit:?} (--timeout)");
    let help = "Nothing was sent. Check that Redis listens there (`redis.url`), its load and the \
                 network, or raise --timeout.";
    let json = json(Code::Unavailable.as_str(), &message);
    Failure { problems: vec![Problem::new(message).help(help)], code: UNREACHABLE, json }
}
