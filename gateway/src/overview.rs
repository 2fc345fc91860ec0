//! All doors of the settings, in lines, for `redcall-gateway check`.

use redcall_common::settings::{GatewaySettings, PmRole, ProtocolSettings, Settings};

use crate::protocols;

/// Returns one line per door: its name, its protocol, its addresses, its jobs.
#[must_use]
pub fn overview(settings: &Settings) -> Vec<String> {
    settings.gateways.iter().map(|(name, door)| line(name, door)).collect()
}

fn line(name: &str, door: &GatewaySettings) -> String {
    let mut parts = vec![format!("gateway {name}: {}", door.protocol.name())];
    for (key, address) in protocols::addresses(&door.protocol) {
        parts.push(format!("{key} {address}"));
    }
    for (key, target) in targets(&door.protocol) {
        parts.push(format!("{key} {target}"));
    }
    let listening = &door.listening;
    match &listening.tls {
        Some(tls) if tls.client_ca_file.is_some() => parts.push("TLS, client certificates".into()),
        Some(_) => parts.push("TLS".into()),
        None => {}
    }
    if listening.token.is_some() {
        parts.push("token".into());
    }
    if !door.outward.serves.is_empty() {
        let (jobs, queues) = (door.outward.serves.join(", "), door.outward.queues.join(", "));
        parts.push(format!("serves {jobs} of {queues}"));
    }
    parts.join("; ")
}

/// Returns what a protocol connects to, besides Redis, and what it takes, each with its key.
fn targets(protocol: &ProtocolSettings) -> Vec<(&'static str, String)> {
    match protocol {
        ProtocolSettings::Rq(settings) if settings.take.is_empty() => Vec::new(),
        ProtocolSettings::Rq(settings) => vec![("take", settings.take.join(", "))],
        ProtocolSettings::Pm(settings) => match &settings.role {
            PmRole::Listen(_) => Vec::new(),
            PmRole::Connect(target) => vec![("connect", target.clone())],
        },
        ProtocolSettings::Zmtp(settings) => {
            let commands = &settings.connect_commands;
            let commands = commands.iter().map(|at| ("connect_commands", at.clone()));
            let events = settings.connect_events.iter().map(|at| ("connect_events", at.clone()));
            commands.chain(events).collect()
        }
        ProtocolSettings::GrpcAvro(settings) => {
            let methods = settings.methods.values();
            methods.map(|method| ("path", format!("{} -> {}", method.path, method.job))).collect()
        }
        ProtocolSettings::Bgpy(settings) => vec![("service", settings.service.clone())],
    }
}
