//! Events of a device, published as Redcall's, by the one gateway that has the lease.

use std::io;
use std::time::Duration;

use redcall_client::{Kind, Lease};
use redcall_common::digest;
use redcall_common::event::topic;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use crate::door::{Door, Stream};
use crate::zmtp::event::{self, DeviceEvent, EMERGENCIES};
use crate::zmtp::link::Link;
use crate::zmtp::wire::{SocketType, Violation, encode};

/// Time limit of the lease.
const LEASE: Duration = Duration::from_secs(6);
/// Period of PINGs, and the silence after which the connection is made again: a host that is gone
/// closes nothing.
const PING: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_secs(10);
/// Pause before another attempt to take the lease, or to connect.
const PAUSE: Duration = Duration::from_secs(1);
/// Time limit of an attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Relays the events of `target` until the door drains.
pub(super) async fn relay(door: &Door, target: &str) {
    // The name of a lease is short; those of doors and targets need not be.
    let name = format!("zmtp.{}", &digest::of_data(&format!("{}\n{target}", door.name()))[..32]);
    while !door.is_draining() {
        let lease = door.client().lease(&name, LEASE).await;
        let lease = lease.inspect_err(|error| {
            let gateway = door.name();
            tracing::warn!(gateway, target, %error, "no lease on the device's events");
        });
        if let Ok(Some(lease)) = lease {
            tokio::select! {
                () = subscribed(door, target) => {}
                () = held(&lease) => {
                    tracing::warn!(gateway = door.name(), target, "lost the lease on its events");
                }
                () = door.draining() => {}
            }
            let _ = lease.release().await;
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = door.draining() => {}
        }
    }
}

/// Renews the lease; returns when it may have ended.
async fn held(lease: &Lease) {
    let mut ticks = interval(LEASE / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut until = Instant::now() + LEASE;
    loop {
        let begun = ticks.tick().await;
        match timeout_at(until, lease.renew()).await {
            Ok(Ok(true)) => until = begun + LEASE,
            Ok(Err(_)) if Instant::now() < until => {}
            Ok(Ok(false) | Err(_)) | Err(_) => return,
        }
    }
}

/// Publishes events until the lease has ended; connects again and again.
async fn subscribed(door: &Door, target: &str) {
    loop {
        if let Some(Err(error)) = door.guarded(events(door, target)).await {
            tracing::info!(gateway = door.name(), target, %error, "no events of the device");
        }
        sleep(PAUSE).await;
    }
}

async fn events(door: &Door, target: &str) -> Result<(), Violation> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "cannot connect in time");
    let connected = timeout(CONNECT_TIMEOUT, Stream::connect(target)).await;
    let stream = connected.unwrap_or_else(|_| Err(late()))?;
    let mut link = Link::open(SocketType::Sub, stream, door.settings().message).await?;
    let minor = link.minor;
    link.send(&encode::subscribe(b"", minor)).await?;
    tracing::info!(gateway = door.name(), target, "subscribed to the device");
    let mut emergency = None;
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let frames = tokio::select! {
            // First, so that nothing that has arrived counts as silence.
            biased;
            frames = link.message() => match frames {
                Some(frames) => frames?,
                None => return Ok(()),
            },
            _ = pings.tick(), if minor > 0 => {
                if link.received_at.elapsed() > SILENCE {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it is silent").into());
                }
                link.send(&encode::ping()).await?;
                continue;
            }
        };
        let read = match &frames[..] {
            [topic, body] => <[u8; 4]>::try_from(&**topic).ok().and_then(|topic| {
                let number = u32::from_le_bytes(topic);
                Some((number, event::read(number, body)?))
            }),
            _ => None,
        };
        let is_published = match read {
            Some((number, event)) => publish(door, number, event, &mut emergency).await,
            None => false,
        };
        if !is_published {
            door.metrics().dropped(1);
        }
    }
}

/// Publishes one event; returns `false` if that is not possible. `emergency` is the last event on
/// the topic of emergencies: its original follows, and needs no other copy.
async fn publish(
    door: &Door,
    number: u32,
    event: DeviceEvent,
    emergency: &mut Option<(Kind, Option<u64>)>,
) -> bool {
    let name = number.to_string();
    let (Some(name), Ok(context)) =
        (topic(&name), serde_json::value::RawValue::from_string(event.context))
    else {
        return false;
    };
    let same = (event.kind, event.index);
    let mut relayed = door.client().publish_event(name, event.kind).context(&context);
    if let Some(when_ms) = event.when_ms {
        relayed = relayed.when_ms(when_ms);
    }
    if let Some(index) = event.index {
        relayed = relayed.index(index);
    }
    if number == Kind::EMERGENCY.0 && EMERGENCIES.contains(&event.kind) {
        *emergency = Some(same);
    }
    if number == Kind::EVENT.0 && emergency.take_if(|copy| *copy == same).is_some() {
        relayed = relayed.without_copy();
    }
    let published = relayed.send().await;
    published
        .inspect_err(|error| {
            tracing::warn!(gateway = door.name(), topic = name, %error, "an event is lost");
        })
        .is_ok()
}
