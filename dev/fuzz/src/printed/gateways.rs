//! The doors of a gateway as the JSON that loads as the same doors.

use std::path::Path;

use redcall_common::settings::{
    BgpySettings, GatewaySettings, GrpcAvroSettings, GrpcDoes, GrpcMethod, InwardSettings,
    ListeningSettings, OutwardSettings, PmAnswers, PmRole, PmSettings, ProtocolSettings, RqErrors,
    RqSettings, TlsSettings, ZmtpDialect, ZmtpSettings,
};
use serde_json::{Map, Value, json};

use super::{given, length};

pub(super) fn of_gateway(gateway: &GatewaySettings) -> Value {
    let GatewaySettings { protocol, inward, outward, listening, timeout, message } = gateway;
    let name = protocol.name();
    let (own, listens) = match protocol {
        ProtocolSettings::Rq(rq) => (of_rq(rq), false),
        ProtocolSettings::Pm(pm) => (of_pm(pm), matches!(pm.role, PmRole::Listen(_))),
        ProtocolSettings::GrpcAvro(grpc) => (of_grpc(grpc), true),
        ProtocolSettings::Zmtp(zmtp) => {
            let listens = !zmtp.listen_commands.is_empty() || !zmtp.listen_events.is_empty();
            (of_zmtp(zmtp), listens)
        }
        ProtocolSettings::Bgpy(bgpy) => (of_bgpy(bgpy), true),
    };
    let mut tables = vec![
        json!({"protocol": name, "timeout": length(*timeout), "message": message}),
        of_inward(inward, name),
        own,
    ];
    if ["rq", "pm", "zmtp"].contains(&name) {
        tables.push(of_outward(outward));
    }
    if listens {
        tables.push(of_listening(listening));
    }
    let fields = tables.into_iter().filter_map(|table| match table {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    let all: Map<_, _> = fields.flatten().collect();
    given(all.into())
}

fn of_inward(inward: &InwardSettings, protocol: &str) -> Value {
    let InwardSettings { queue, names, prefix, jobs, sign_with } = inward;
    let mut printed = json!({"sign_with": sign_with});
    if protocol != "bgpy" {
        printed["queue"] = json!(queue);
        printed["jobs"] = json!(jobs);
    }
    if ["rq", "pm"].contains(&protocol) {
        printed["names"] = json!(names);
        printed["prefix"] = json!((!prefix.is_empty()).then_some(prefix));
    }
    printed
}

fn of_outward(outward: &OutwardSettings) -> Value {
    let OutwardSettings { serves, queues, concurrency } = outward;
    let serving = !serves.is_empty();
    json!({"serves": list(serves), "queues": serving.then_some(queues),
        "concurrency": concurrency})
}

fn of_listening(listening: &ListeningSettings) -> Value {
    let ListeningSettings { connections, idle, tls, token, open } = listening;
    let tls = tls.as_ref().map(|TlsSettings { cert_file, key_file, client_ca_file }| {
        given(json!({"cert_file": path(cert_file), "key_file": path(key_file),
            "client_ca_file": client_ca_file.as_deref().map(path)}))
    });
    json!({"connections": connections, "idle": idle.map(length), "tls": tls,
        "token": token.as_ref().map(|token| token.reveal()), "open": open})
}

fn of_rq(rq: &RqSettings) -> Value {
    let RqSettings { url, take, function, errors, to, result_ttl } = rq;
    let errors = match errors {
        RqErrors::Answer => "answer",
        RqErrors::Silent => "silent",
    };
    json!({"url": url.as_ref().map(|url| url.reveal()), "take": list(take), "function": function,
        "errors": errors, "to": to, "result_ttl": length(*result_ttl)})
}

fn of_pm(pm: &PmSettings) -> Value {
    let PmSettings { role, answers, cancels } = pm;
    let (listen, connect) = match role {
        PmRole::Listen(address) => (Some(address.to_string()), None),
        PmRole::Connect(target) => (None, Some(target)),
    };
    let answers = match answers {
        PmAnswers::Typed => "typed",
        PmAnswers::Plain => "plain",
    };
    json!({"listen": listen, "connect": connect, "answers": answers, "cancels": cancels})
}

fn of_grpc(grpc: &GrpcAvroSettings) -> Value {
    let GrpcAvroSettings { listen, methods, registry } = grpc;
    let methods = methods.iter().map(|(name, method)| (name.clone(), of_method(method)));
    let methods: Map<_, _> = methods.collect();
    json!({"listen": listen.to_string(), "methods": methods,
        "registry": registry.map(|registry| registry.to_string())})
}

fn of_method(method: &GrpcMethod) -> Value {
    let GrpcMethod { path: at, does, job, request, response, key, status, follow, kept } = method;
    let does = match does {
        GrpcDoes::Init => "init",
        GrpcDoes::Monitor => "monitor",
        GrpcDoes::Call => "call",
    };
    given(json!({"path": at, "does": does, "job": job, "request": path(request),
        "response": path(response), "key": key, "status": status, "follow": follow,
        "kept": length(*kept)}))
}

fn of_zmtp(zmtp: &ZmtpSettings) -> Value {
    let ZmtpSettings {
        listen_commands,
        listen_events,
        connect_commands,
        connect_events,
        commands,
        others,
        dialect,
        identifier,
        topics,
    } = zmtp;
    let dialect = match dialect {
        ZmtpDialect::V0_9 => "0.9",
        ZmtpDialect::V0_12 => "0.12",
    };
    let commands = commands.iter().map(|(number, job)| (number.to_string(), json!(job)));
    let commands: Map<_, _> = commands.collect();
    let texts = |all: &[std::net::SocketAddr]| {
        list(&all.iter().map(ToString::to_string).collect::<Vec<_>>()).map(<[String]>::to_vec)
    };
    json!({"listen_commands": texts(listen_commands), "listen_events": texts(listen_events),
        "connect_commands": list(connect_commands), "connect_events": list(connect_events),
        "commands": commands, "others": others, "dialect": dialect, "identifier": identifier,
        "topics": list(topics)})
}

fn of_bgpy(bgpy: &BgpySettings) -> Value {
    let BgpySettings { listen, service, instance, tasks, pace } = bgpy;
    json!({"listen": listen.to_string(), "service": service, "instance": instance,
        "tasks": tasks, "pace": length(*pace)})
}

/// A list, unless it is empty, which no setting is.
fn list<T>(all: &[T]) -> Option<&[T]> {
    (!all.is_empty()).then_some(all)
}

fn path(path: &Path) -> Option<&str> {
    path.to_str()
}
