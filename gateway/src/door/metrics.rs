//! The counters of doors. Labels are bounded: doors by the settings, outcomes by the codes, reasons
//! by the protocols' fixed words.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redcall_client::Code;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDoor {
    gateway: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    gateway: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    gateway: String,
    why: &'static str,
}

/// The metrics of all doors of a process.
pub(crate) struct Metrics {
    registry: Registry,
    families: Families,
}

#[derive(Clone, Default)]
struct Families {
    connections: Family<OfDoor, Gauge>,
    requests: Family<OutcomeLabel, Counter>,
    refused: Family<Refused, Counter>,
    dropped: Family<OfDoor, Counter>,
}

/// The metrics of one door.
pub(crate) struct DoorMetrics {
    gateway: String,
    families: Families,
    connections: Gauge,
    /// Panics at the next count: all protocols count in the tasks of their connections and jobs.
    #[cfg(test)]
    panics: std::sync::atomic::AtomicBool,
}

/// Counts an open connection until it is dropped.
pub(crate) struct Open(Gauge);

impl Metrics {
    pub(crate) fn new() -> Self {
        let families = Families::default();
        let mut registry = Registry::with_prefix("redcall_gateway");
        let Families { connections, requests, refused, dropped } = families.clone();
        registry.register("connections", "Open connections", connections);
        // The encoder appends `_total` to the names of counters.
        registry.register("requests", "Calls that ended, by outcome", requests);
        registry.register("refused", "Connections and messages refused, by reason", refused);
        registry.register("dropped", "Messages dropped for slow readers or as unreadable", dropped);
        Self { registry, families }
    }

    /// Returns the metrics of the door `name`; its gauge and its counter of drops exist from now
    /// on.
    pub(crate) fn of(&self, name: &str) -> DoorMetrics {
        let (gateway, families) = (name.to_owned(), self.families.clone());
        let label = OfDoor { gateway: gateway.clone() };
        let connections = families.connections.get_or_create_owned(&label);
        drop(families.dropped.get_or_create(&label));
        DoorMetrics {
            gateway,
            families,
            connections,
            #[cfg(test)]
            panics: false.into(),
        }
    }

    /// Encodes the metrics as text, without the end mark.
    pub(crate) fn encode(&self, out: &mut String) -> fmt::Result {
        text::encode_registry(out, &self.registry)
    }
}

impl DoorMetrics {
    /// Counts a connection until the result is dropped.
    pub(crate) fn connected(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts the end of a call; `None`: it was answered.
    pub(crate) fn request(&self, code: Option<Code>) {
        #[cfg(test)]
        self.panic_if_requested();
        let outcome = code.map_or("ok", Code::as_str);
        let label = OutcomeLabel { gateway: self.gateway.clone(), outcome };
        self.families.requests.get_or_create(&label).inc();
    }

    /// Counts a refused connection or message. `why` is one of a few fixed words.
    pub(crate) fn refused(&self, why: &'static str) {
        #[cfg(test)]
        self.panic_if_requested();
        let label = Refused { gateway: self.gateway.clone(), why };
        self.families.refused.get_or_create(&label).inc();
    }

    /// Counts messages that were dropped.
    pub(crate) fn dropped(&self, messages: u64) {
        #[cfg(test)]
        self.panic_if_requested();
        let label = OfDoor { gateway: self.gateway.clone() };
        self.families.dropped.get_or_create(&label).inc_by(messages);
    }

    /// Makes the task of the next count panic.
    #[cfg(test)]
    pub(crate) fn panic_next(&self) {
        self.panics.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    #[cfg(test)]
    fn panic_if_requested(&self) {
        if self.panics.swap(false, std::sync::atomic::Ordering::SeqCst) {
            panic!("requested by a test");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
