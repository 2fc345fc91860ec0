//! Settings as the JSON that loads as the same settings. Every struct is taken apart, so that a new
//! field has to be thought of here, too.

mod gateways;

use std::path::Path;
use std::time::Duration;

use redcall_common::limits::Limits;
use redcall_common::settings::{
    AdminSettings, AuthKey, AuthSettings, BackoffKind, ClientSettings, DeadSettings, EventSettings,
    JobSettings, Limit, LogFormat, LogSettings, Missed, OnWorkerLoss, PoolSettings, QueueSettings,
    RedisSettings, Retries, ScheduleSettings, ServiceSettings, ServiceTasks, Settings,
    WorkerSettings,
};
use serde_json::{Map, Value, json};

/// All but the name of the file.
pub(crate) fn printed(settings: &Settings) -> Value {
    let Settings {
        redis,
        client: ClientSettings { timeout, no_workers_grace },
        worker,
        jobs,
        pools,
        services,
        schedules,
        queues,
        auth,
        gateways,
        limits: Limits { request, answer, frame, depth, max_length, answers_max_bytes },
        dead: DeadSettings { max, max_bytes, age },
        events:
            EventSettings {
                max: events,
                max_bytes: events_bytes,
                age: events_age,
                emergency,
                heartbeat,
            },
        admin: AdminSettings { listen },
        log: LogSettings { level, format },
        file: _,
    } = settings;
    let format = match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let admin = listen.map(|listen| listen.to_string());
    let jobs: Map<_, _> = jobs.iter().map(|(name, job)| (name.clone(), of_job(job))).collect();
    let pools = pools.iter().map(|(name, pool)| (name.clone(), of_pool(pool)));
    let pools: Map<_, _> = pools.collect();
    let services = services.iter().map(|(name, one)| (name.clone(), of_service(one)));
    let services: Map<_, _> = services.collect();
    let schedules = schedules.iter().map(|(name, one)| (name.clone(), of_schedule(one)));
    let schedules: Map<_, _> = schedules.collect();
    let queues = queues.iter().map(|(name, queue)| {
        let QueueSettings { max_length, answers_max_bytes } = queue;
        let bounds = json!({"max_length": max_length, "answers_max_bytes": answers_max_bytes});
        (name.clone(), given(bounds))
    });
    let queues: Map<_, _> = queues.collect();
    let gateways = gateways.iter().map(|(name, one)| (name.clone(), gateways::of_gateway(one)));
    let gateways: Map<_, _> = gateways.collect();
    given(json!({
        "redis": of_redis(redis),
        "client": {"timeout": length(*timeout), "no_workers_grace": length(*no_workers_grace)},
        "worker": of_worker(worker),
        "jobs": jobs,
        "pools": pools,
        "services": services,
        "schedules": schedules,
        "queues": queues,
        "auth": auth.as_ref().map(of_auth),
        "gateways": gateways,
        "limits": {"request": request, "answer": answer, "frame": frame, "depth": depth,
            "max_length": max_length, "answers_max_bytes": answers_max_bytes},
        "dead": {"max": max, "max_bytes": max_bytes, "age": length(*age)},
        "events": given(json!({"max": events, "max_bytes": events_bytes, "age": length(*events_age),
            "emergency": emergency, "heartbeat": heartbeat.map(length)})),
        "admin": given(json!({"listen": admin})),
        "log": {"level": level, "format": format},
    }))
}

fn of_auth(auth: &AuthSettings) -> Value {
    let AuthSettings { keys, sign_with, required } = auth;
    let keys = keys.iter().map(|(name, AuthKey { secret, jobs })| {
        (name.clone(), json!({"secret": secret.reveal(), "jobs": jobs}))
    });
    let keys: Map<_, _> = keys.collect();
    given(json!({"keys": keys, "sign_with": sign_with, "required": required}))
}

fn of_redis(redis: &RedisSettings) -> Value {
    let RedisSettings {
        url,
        url_named: _,
        prefix,
        durability,
        ca_file,
        cert_file,
        key_file,
        connect_timeout,
        response_timeout,
        skip_safety_warning: _,
    } = redis;
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_deref().and_then(Path::to_str).map(str::to_owned)
    };
    given(json!({
        "url": url, "prefix": prefix, "durability": durability.as_str(),
        "ca_file": path(ca_file), "cert_file": path(cert_file), "key_file": path(key_file),
        "connect_timeout": length(*connect_timeout),
        "response_timeout": length(*response_timeout),
    }))
}

fn of_worker(worker: &WorkerSettings) -> Value {
    let WorkerSettings {
        name,
        queues,
        concurrency,
        lease,
        drain_timeout,
        cancel_grace,
        idempotency_ttl,
    } = worker;
    given(json!({
        "name": name, "queues": queues, "concurrency": concurrency, "lease": length(*lease),
        "drain_timeout": length(*drain_timeout), "cancel_grace": length(*cancel_grace),
        "idempotency_ttl": length(*idempotency_ttl),
    }))
}

fn of_service(service: &ServiceSettings) -> Value {
    let ServiceSettings { tasks, timeout, max_crashes, idle } = service;
    let mut printed = match tasks {
        ServiceTasks::Compiled { init, execute, exit } => {
            json!({"init": init, "execute": execute, "exit": exit})
        }
        ServiceTasks::Process(process) => process.keys().into(),
    };
    printed["timeout"] = json!(length(*timeout));
    printed["max_crashes"] = json!(max_crashes);
    printed["idle"] = json!(length(*idle));
    given(printed)
}

fn of_job(job: &JobSettings) -> Value {
    let JobSettings {
        kind,
        timeout,
        queue,
        concurrency,
        retries: Retries { max, backoff, base, cap, on },
        on_worker_loss,
        max_crashes,
        unique,
        status,
        limit,
        env,
    } = job;
    let backoff = match backoff {
        BackoffKind::Exponential => "exponential",
        BackoffKind::Constant => "constant",
    };
    let on_worker_loss = match on_worker_loss {
        OnWorkerLoss::Rerun => "rerun",
        OnWorkerLoss::Fail => "fail",
    };
    let on: Vec<&str> = on.iter().map(|code| code.as_str()).collect();
    let mut printed = json!({
        "timeout": length(*timeout), "queue": queue,
        "concurrency": concurrency,
        "retries": {"max": max, "backoff": backoff, "base": length(*base), "cap": length(*cap),
            "on": on},
        "on_worker_loss": on_worker_loss, "max_crashes": max_crashes,
        "unique": unique.map(length), "status": status.map(length),
        "limit": limit.as_ref().map(of_limit),
    });
    for (key, value) in kind.keys().into_iter().chain(env.keys()) {
        printed[key] = value;
    }
    given(printed)
}

fn of_pool(pool: &PoolSettings) -> Value {
    let PoolSettings { process } = pool;
    process.keys().into()
}

fn of_limit(limit: &Limit) -> Value {
    let Limit { key, concurrency, rate } = limit;
    let rate = rate.map(|rate| {
        let unit = match rate.per.as_secs() {
            1 => "s",
            60 => "m",
            3600 => "h",
            _ => "d",
        };
        format!("{}/{unit}", rate.count)
    });
    given(json!({"key": key, "concurrency": concurrency, "rate": rate}))
}

fn of_schedule(schedule: &ScheduleSettings) -> Value {
    let ScheduleSettings { job, data, queue, cron, timezone, missed } = schedule;
    let missed = match missed {
        Missed::Skip => "skip",
        Missed::Last => "last",
        Missed::All => "all",
    };
    let data: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{data}: {e}"));
    let mut printed = given(json!({
        "job": job, "queue": queue, "cron": cron, "timezone": timezone, "missed": missed,
    }));
    // Here `null` is a value.
    printed["data"] = data;
    printed
}

fn length(length: Duration) -> String {
    humantime::format_duration(length).to_string()
}

/// Without the fields that are `null`: no setting is.
fn given(mut table: Value) -> Value {
    if let Value::Object(fields) = &mut table {
        fields.retain(|_, field| !field.is_null());
    }
    table
}
