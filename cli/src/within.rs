//! One time for all that a verb does: `--timeout` counts from its beginning. Connecting, greeting
//! and loading scripts take part of it, and the rest is left for what was asked.

use std::time::{Duration, Instant};

use redcall_client::{Client, Code, Settings};
use redcall_common::report::Problem;
use redcall_store::Connector;
use tokio::time::timeout;

use crate::failure::{Failure, UNREACHABLE, json};
use crate::{Verb, unreachable};

/// The least that is left of a verb's time when it has connected in time.
const LEAST: Duration = Duration::from_millis(1);

/// Connects within the time of `verb`, and takes away what that took.
pub(crate) async fn connected(verb: &mut Verb, settings: &Settings) -> Result<Client, Failure> {
    let begun = Instant::now();
    let connecting = Client::from_settings(settings);
    let connected = match within(verb) {
        Some(within) => {
            timeout(within, connecting).await.map_err(|_| too_slow(within, settings))?
        }
        None => connecting.await,
    };
    let client = connected.map_err(|error| unreachable(&error))?;
    if let Some(left) = time(verb) {
        *left = left.saturating_sub(begun.elapsed()).max(LEAST);
    }
    Ok(client)
}

/// How long connecting may take.
fn within(verb: &mut Verb) -> Option<Duration> {
    match verb {
        Verb::Follow(follow) => follow.time(),
        // The time of one that is delayed begins later, but nothing can take longer to queue.
        Verb::Call(call) => call.time().copied(),
        verb => time(verb).copied(),
    }
}

/// The time that runs from the verb's beginning.
fn time(verb: &mut Verb) -> Option<&mut Duration> {
    match verb {
        Verb::Call(call) if !call.is_delayed() => call.time(),
        Verb::Service(service) => service.time(),
        Verb::Monitor(monitor) => monitor.time(),
        // Those of `follow` and `doctor` begin with each frame and each call.
        _ => None,
    }
}

fn too_slow(within: Duration, settings: &Settings) -> Failure {
    let address = Connector::new(&settings.redis, "redcall");
    let address = address.map_or_else(|_| "an address".to_owned(), |it| it.address().to_owned());
    let message = format!("Redis at {address} did not let us in within {within:?} (--timeout)");
    let help = "Nothing was sent. Is it Redis that listens there? Look at its load, at the \
                network, and at `redis.url`; or allow more time.";
    let json = json(Code::Unavailable.as_str(), &message);
    Failure { problems: vec![Problem::new(message).help(help)], code: UNREACHABLE, json }
}
