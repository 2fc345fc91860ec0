//! All doors of a process: opens them, runs them, drains.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redcall_client::Client;
use redcall_common::settings::{GatewaySettings, Settings};
use redcall_probes::Probes;
use redcall_worker::Stop;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, GatewaySource};
use crate::door::{Door, Listeners, Metrics, acceptor};
use crate::error::{DoorError, GatewayError};
use crate::protocols;

/// How long calls that were ended may take to be dropped.
const DROPPED_TIMEOUT: Duration = Duration::from_millis(500);

/// The doors of a process. Open it, then call [`Gateway::run_until`].
pub struct Gateway {
    doors: Vec<(Arc<Door>, Listeners)>,
    /// One per key of `sign_with`.
    clients: Vec<Client>,
    draining: CancellationToken,
    drain_timeout: Duration,
    /// Ended last.
    probes: Option<Probes>,
}

/// An address on which a door listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorAddress {
    /// The door's name.
    pub door: String,
    /// The key in its settings, such as `listen`.
    pub key: &'static str,
    /// The address; its port is the one that the system chose if the settings have 0.
    pub address: SocketAddr,
}

impl Gateway {
    /// Connects to Redis, and binds the addresses of all doors. Nothing is served yet.
    ///
    /// # Errors
    ///
    /// If there are no doors, Redis is not reachable, or a door cannot be opened.
    pub async fn open(settings: Settings) -> Result<Self, GatewayError> {
        if settings.gateways.is_empty() {
            return Err(GatewayError::NoDoors);
        }
        let (draining, metrics) = (CancellationToken::new(), Arc::new(Metrics::new()));
        let (settings, mut clients) = (Arc::new(settings), BTreeMap::new());
        let mut doors = Vec::with_capacity(settings.gateways.len());
        for (name, door_settings) in &settings.gateways {
            let client = client(&settings, &mut clients, &door_settings.inward.sign_with).await?;
            let run = (&*metrics, draining.clone());
            let door = Arc::new(Door::new(name, door_settings, settings.clone(), client, run));
            let refused = |source| GatewayError::Door { door: name.clone(), source };
            protocols::check(&door_settings.protocol, &settings).map_err(refused)?;
            let addresses = protocols::addresses(&door_settings.protocol);
            let listeners = Listeners::bind(&door, &addresses);
            doors.push((door, listeners.map_err(refused)?));
        }
        let clients: Vec<Client> = clients.into_values().collect();
        let any = clients.first().cloned().ok_or(GatewayError::NoDoors)?;
        let source = GatewaySource::new(any, metrics, draining.clone());
        let probes = admin::start(&settings, source)?;
        let drain_timeout = settings.worker.drain_timeout;
        Ok(Self { doors, clients, draining, drain_timeout, probes })
    }

    /// Checks the files of all doors, without Redis and without binding an address. Returns every
    /// problem.
    #[must_use]
    pub fn check(settings: &Settings) -> Vec<GatewayError> {
        let doors = settings.gateways.iter();
        let problem = |(name, door): (&String, &GatewaySettings)| {
            let tls = door.listening.tls.as_ref().map(|tls| acceptor(tls, &[]));
            let of_protocol = || protocols::check(&door.protocol, settings).err();
            let source = tls.and_then(Result::err).or_else(of_protocol)?;
            Some(GatewayError::Door { door: name.clone(), source })
        };
        doors.filter_map(problem).collect()
    }

    /// Connects to Redis; returns its address, without the password.
    ///
    /// # Errors
    ///
    /// If Redis is not reachable.
    pub async fn check_redis(settings: &Settings) -> Result<String, GatewayError> {
        let connected = Client::from_settings(settings).await.map_err(GatewayError::Redis)?;
        drop(connected);
        Ok(settings.redis.redacted_url())
    }

    /// Connects to each Redis that a door has next to Redcall's. Returns the name of the door and
    /// the address, without the password, or the problem.
    pub async fn check_doors(settings: &Settings) -> Vec<Result<(String, String), GatewayError>> {
        let mut found = Vec::new();
        for (name, door) in &settings.gateways {
            match protocols::check_redis(&door.protocol, settings, name).await {
                Ok(None) => {}
                Ok(Some(address)) => found.push(Ok((name.clone(), address))),
                Err(source) => found.push(Err(GatewayError::Door { door: name.clone(), source })),
            }
        }
        found
    }

    /// Returns the addresses on which the doors listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<DoorAddress> {
        let of = |(door, listeners): &(Arc<Door>, Listeners)| {
            let door = door.name().to_owned();
            let of = |(key, address)| DoorAddress { door: door.clone(), key, address };
            listeners.addresses().map(of).collect::<Vec<_>>()
        };
        self.doors.iter().flat_map(of).collect()
    }

    /// Returns the address of the probes and metrics; `None` if the settings name none.
    #[must_use]
    pub fn probes(&self) -> Option<SocketAddr> {
        self.probes.as_ref().map(Probes::address)
    }

    /// Serves all doors until `stop` requests [`Stop::Drain`]; then accepts nothing more, and ends
    /// when the open requests have ended, after `worker.drain_timeout` at the latest.
    /// [`Stop::Now`] ends at once. Requests that are still open are withdrawn, which takes a second
    /// at most. Dropping the future ends at once, and may lose withdrawals.
    ///
    /// # Errors
    ///
    /// The first error of a door.
    pub async fn run_until(self, stop: watch::Receiver<Stop>) -> Result<(), GatewayError> {
        let Self { doors, clients, draining, drain_timeout, probes: _probes } = self;
        let (mut tasks, mut names) = (JoinSet::new(), BTreeMap::new());
        let mut calls = Vec::with_capacity(doors.len());
        for (door, listeners) in doors {
            let name = door.name().to_owned();
            calls.push(door.tasks().clone());
            let task = tasks.spawn(protocols::serve(door, listeners));
            names.insert(task.id(), name);
        }
        let ended = until(&mut tasks, &names, (stop, draining, drain_timeout)).await;
        // Dropping an open call withdraws its request: the client writes that, unless the process
        // ends before.
        tasks.shutdown().await;
        let dropped = join_all(calls.iter().map(|calls| {
            calls.close();
            calls.wait()
        }));
        if timeout(DROPPED_TIMEOUT, dropped).await.is_err() {
            tracing::warn!("some calls have not ended; their requests may go on");
        }
        join_all(clients.iter().map(Client::flush)).await;
        ended
    }
}

/// Waits for the end of all doors, or for the end of the drain.
async fn until(
    tasks: &mut JoinSet<Result<(), DoorError>>,
    names: &BTreeMap<tokio::task::Id, String>,
    (mut stop, draining, drain_timeout): (watch::Receiver<Stop>, CancellationToken, Duration),
) -> Result<(), GatewayError> {
    let mut serving = std::pin::pin!(all(tasks, names));
    tokio::select! {
        ended = &mut serving => return ended,
        () = above(&mut stop, Stop::No) => {}
    }
    draining.cancel();
    tokio::select! {
        ended = timeout(drain_timeout, &mut serving) => match ended {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!("open requests have not ended within worker.drain_timeout");
                Ok(())
            }
        },
        () = above(&mut stop, Stop::Drain) => Ok(()),
    }
}

/// Waits until all doors have ended, or one with an error.
async fn all(
    tasks: &mut JoinSet<Result<(), DoorError>>,
    names: &BTreeMap<tokio::task::Id, String>,
) -> Result<(), GatewayError> {
    while let Some(ended) = tasks.join_next_with_id().await {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, ended),
            Err(error) => (error.id(), Err(DoorError::Panicked)),
        };
        let door = names.get(&id).cloned().unwrap_or_default();
        ended.map_err(|source| GatewayError::Door { door, source })?;
    }
    Ok(())
}

/// Waits for a request beyond `level`. A dropped sender requests nothing.
async fn above(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|current| *current > level).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns the client that signs with `sign_with`: one for all doors with the same key.
async fn client(
    settings: &Settings,
    clients: &mut BTreeMap<Option<String>, Client>,
    sign_with: &Option<String>,
) -> Result<Client, GatewayError> {
    if let Some(client) = clients.get(sign_with) {
        return Ok(client.clone());
    }
    let mut own = settings.clone();
    if let (Some(auth), Some(name)) = (&mut own.auth, sign_with) {
        auth.sign_with = Some(name.clone());
    }
    let client = Client::from_settings(&own).await.map_err(GatewayError::Redis)?;
    clients.insert(sign_with.clone(), client.clone());
    Ok(client)
}
