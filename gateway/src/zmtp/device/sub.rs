//! Events of a device, published as Redcall's, by the one gateway that has the lease.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_client::{EventBuilder, Kind, Lease};
use redcall_common::digest;
use redcall_common::event::topic;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use crate::door::{Door, Stream};
use crate::zmtp::event::{self, DeviceEvent, EMERGENCIES};
use crate::zmtp::link::Link;
use crate::zmtp::pairs::{Pairs, Side};
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

/// The relay of one device.
struct Relay<'a> {
    door: &'a Door,
    target: &'a str,
    /// When the lease ends, unless it is renewed. Written by [`Relay::held`].
    until: Mutex<Instant>,
    /// Outlives connections: one may end between the two messages of an emergency.
    pairs: Mutex<Pairs>,
}

// No code panics while it holds a lock, so the values are consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Relays the events of `target` until the door drains.
pub(super) async fn relay(door: &Door, target: &str) {
    // The name of a lease is short; those of doors and targets need not be.
    let name = format!("zmtp.{}", &digest::of_data(&format!("{}\n{target}", door.name()))[..32]);
    let (until, pairs) = (Mutex::new(Instant::now()), Mutex::default());
    let relay = Relay { door, target, until, pairs };
    while !door.is_draining() {
        let begun = Instant::now();
        let lease = door.client().lease(&name, LEASE).await;
        let lease = lease.inspect_err(|error| {
            let gateway = door.name();
            tracing::warn!(gateway, target, %error, "no lease on the device's events");
        });
        if let Ok(Some(lease)) = lease {
            *lock(&relay.until) = begun + LEASE;
            tokio::select! {
                () = relay.subscribed() => {}
                () = relay.held(&lease) => {
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

impl Relay<'_> {
    /// Renews the lease; returns when it may have ended.
    async fn held(&self, lease: &Lease) {
        let mut ticks = interval(LEASE / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let begun = ticks.tick().await;
            let until = *lock(&self.until);
            match timeout_at(until, lease.renew()).await {
                Ok(Ok(true)) => *lock(&self.until) = begun + LEASE,
                Ok(Err(_)) if Instant::now() < until => {}
                Ok(Ok(false) | Err(_)) | Err(_) => return,
            }
        }
    }

    /// Returns `true` if no other gateway can have the lease. A process that was stopped for a
    /// while finds events in its connection that another one has relayed.
    fn has_lease(&self) -> bool {
        Instant::now() < *lock(&self.until)
    }

    /// Publishes events; connects again and again. Never ends.
    async fn subscribed(&self) {
        let Self { door, target, .. } = self;
        loop {
            if let Some(Err(error)) = door.guarded(self.events()).await {
                tracing::info!(gateway = door.name(), target, %error, "no events of the device");
            }
            sleep(PAUSE).await;
        }
    }

    async fn events(&self) -> Result<(), Violation> {
        let Self { door, target, .. } = self;
        let late = || io::Error::new(io::ErrorKind::TimedOut, "cannot connect in time");
        let connected = timeout(CONNECT_TIMEOUT, Stream::connect(target)).await;
        let stream = connected.unwrap_or_else(|_| Err(late()))?;
        let mut link = Link::open(SocketType::Sub, stream, door.settings().message).await?;
        let minor = link.minor;
        link.send(&encode::subscribe(b"", minor)).await?;
        tracing::info!(gateway = door.name(), target, "subscribed to the device");
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
                // The connection ends with the lease.
                Some(_) if !self.has_lease() => return Ok(()),
                Some((number, event)) => self.publish(number, event).await,
                None => false,
            };
            if !is_published {
                door.metrics().dropped(1);
            }
        }
    }

    /// Publishes one event; returns `false` if that is not possible. Of the two messages of an
    /// emergency, the second one adds no second event to the topic `emergency`.
    async fn publish(&self, number: u32, event: DeviceEvent) -> bool {
        let door = self.door;
        let name = number.to_string();
        let DeviceEvent { kind, when_ms, index, context } = event;
        let content = format!("{} {when_ms:?} {index:?} {context}", kind.0);
        let (Some(name), Ok(context)) =
            (topic(&name), serde_json::value::RawValue::from_string(context))
        else {
            return false;
        };
        let mut relayed = door.client().publish_event(name, kind).context(&context);
        if let Some(when_ms) = when_ms {
            relayed = relayed.when_ms(when_ms);
        }
        if let Some(index) = index {
            relayed = relayed.index(index);
        }
        let side = side(number, kind);
        match side {
            // Its event was published with a copy.
            Some(Side::Emergency) if lock(&self.pairs).take(Side::Event, &content) => return true,
            Some(Side::Event) if lock(&self.pairs).take(Side::Emergency, &content) => {
                return sent(door, name, relayed.without_copy()).await;
            }
            Some(_) | None => {}
        }
        let is_sent = sent(door, name, relayed).await;
        let is_copied = door.all_settings().events.emergency.contains(&kind.0);
        if let Some(side) = side
            && is_sent
            && (side == Side::Emergency || is_copied)
        {
            lock(&self.pairs).add(side, &content);
        }
        is_sent
    }
}

/// Returns the side of a message that has another one.
fn side(number: u32, kind: Kind) -> Option<Side> {
    match number {
        _ if !EMERGENCIES.contains(&kind) => None,
        number if number == Kind::EMERGENCY.0 => Some(Side::Emergency),
        number if number == Kind::EVENT.0 => Some(Side::Event),
        _ => None,
    }
}

async fn sent(door: &Door, topic: &str, event: EventBuilder) -> bool {
    let sent = event.send().await;
    sent.inspect_err(|error| {
        tracing::warn!(gateway = door.name(), topic, %error, "an event is lost");
    })
    .is_ok()
}
