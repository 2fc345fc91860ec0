//! Redis in the states that matter.

use std::net::{Ipv4Addr, TcpListener};

use redcall_testkit::{ReplicatedRedis, RestartableRedis, TestRedis};
use redis::aio::MultiplexedConnection;

use super::{at, doctor};

async fn set(conn: &mut MultiplexedConnection, name: &str, value: &str) {
    let set = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).to_owned();
    let () = set.query_async(conn).await.unwrap();
}

#[tokio::test]
async fn redis_persistence_is_judged() {
    let redis = TestRedis::start().await;
    let (mut conn, env) = (redis.connection().await, at(&redis));
    let none = "Redis keeps nothing on disk (appendonly no, save \"\")";
    doctor(&[], &env).await.has("persistence", "problem", none);
    set(&mut conn, "save", "3600 1").await;
    let snapshots = "only snapshots (appendonly no, save \"3600 1\")";
    doctor(&[], &env).await.has("persistence", "warning", snapshots);
    set(&mut conn, "appendonly", "yes").await;
    set(&mut conn, "appendfsync", "everysec").await;
    doctor(&[], &env).await.has("persistence", "note", "append-only file, appendfsync everysec");
    set(&mut conn, "appendfsync", "no").await;
    doctor(&[], &env).await.has(
        "persistence",
        "warning",
        "appendfsync no: the system decides when to write it",
    );
    set(&mut conn, "appendfsync", "always").await;
    doctor(&[], &env).await.has("persistence", "ok", "append-only file, appendfsync always");

    let redis = RestartableRedis::start().await;
    let env = [("REDIS_URL".to_owned(), redis.settings().url)].into();
    doctor(&[], &env).await.has("persistence", "ok", "append-only file, appendfsync always");
}

#[tokio::test]
async fn redis_eviction_policy_is_judged() {
    let redis = TestRedis::start().await;
    let (mut conn, env) = (redis.connection().await, at(&redis));
    set(&mut conn, "maxmemory-policy", "allkeys-lru").await;
    let seen = doctor(&[], &env).await;
    seen.has("eviction", "ok", "no memory limit");
    seen.has("memory", "ok", "of its machine's memory in use");
    set(&mut conn, "maxmemory", "1gb").await;
    let seen = doctor(&[], &env).await;
    seen.has("eviction", "problem", "may evict any key (maxmemory-policy allkeys-lru)");
    seen.has("memory", "ok", "0 % of maxmemory in use");
    set(&mut conn, "maxmemory-policy", "volatile-ttl").await;
    let some = "may evict keys that have a TTL (maxmemory-policy volatile-ttl)";
    doctor(&[], &env).await.has("eviction", "warning", some);
    set(&mut conn, "maxmemory-policy", "noeviction").await;
    doctor(&[], &env).await.has("eviction", "ok", "noeviction");
    // Full, it refuses writes of the others; the doctor only reads.
    set(&mut conn, "maxmemory", "1").await;
    let seen = doctor(&[], &env).await;
    seen.has("memory", "problem", "% of maxmemory in use");
    seen.is_fine("keys");
}

#[tokio::test]
async fn redis_without_info_is_unknown_not_a_failure() {
    let quiet = ["--rename-command", "CONFIG", "", "--appendonly", "yes"];
    let redis = TestRedis::start_with(quiet).await;
    let seen = doctor(&[], &at(&redis)).await;
    seen.has("persistence", "note", "(appendfsync) is unknown");
    seen.has("eviction", "ok", "no memory limit");

    let redis = TestRedis::start_with(["--rename-command", "CONFIG", ""]).await;
    let seen = doctor(&[], &at(&redis)).await;
    seen.has("persistence", "warning", "whether it takes snapshots is unknown");

    let silent = ["--rename-command", "CONFIG", "", "--rename-command", "INFO", ""];
    let redis = TestRedis::start_with(silent).await;
    let seen = doctor(&[], &at(&redis)).await;
    for (check, what) in [
        ("redis", "a Redis of unknown version answers at"),
        ("persistence", "unknown: "),
        ("eviction", "unknown: "),
        ("memory", "unknown: "),
    ] {
        seen.has(check, "note", what);
    }
}

#[tokio::test]
async fn a_replica_is_a_problem_and_is_looked_at_nevertheless() {
    let redis = ReplicatedRedis::start().await;
    let env = [("REDIS_URL".to_owned(), redis.url(1))].into();
    let seen = doctor(&[], &env).await;
    assert_eq!(seen.code, 1);
    seen.has("role", "problem", "a read-only replica");
    seen.is_fine("keys");
    let env = [("REDIS_URL".to_owned(), redis.settings().url)].into();
    let seen = doctor(&[], &env).await;
    seen.has("role", "ok", "primary");
    seen.is_fine("tls");
}

#[tokio::test]
async fn a_node_of_a_cluster_is_a_problem() {
    let bus = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let bus = bus.to_string();
    let args = ["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--cluster-port", &bus];
    let redis = TestRedis::start_with(args).await;
    let seen = doctor(&[], &at(&redis)).await;
    assert_eq!(seen.code, 1);
    seen.has("cluster", "problem", "a node of a cluster");
    // Without slots it answers none of the rest, which is reported as well.
    seen.has("queues", "problem", "check failed: ");
}

#[tokio::test]
async fn unencrypted_network_connection_is_a_warning() {
    // There is no server at that address; findings that do not need Redis are reported.
    let env = [("REDIS_URL".to_owned(), "redis://me:sesame@192.0.2.1:1".to_owned())].into();
    let began = std::time::Instant::now();
    let seen = doctor(&[], &env).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(seen.code, 3);
    seen.has("tls", "warning", "without TLS");
    seen.has("settings", "ok", "redis.url redis://***@192.0.2.1:1");
    assert!(!format!("{:?}", seen.findings).contains("sesame"));

    let redis = TestRedis::start_tls().await;
    let ca = redis.ca_file().unwrap().display().to_string();
    let mut env = at(&redis);
    env.insert("REDCALL__REDIS__CA_FILE".to_owned(), ca);
    let seen = doctor(&[], &env).await;
    seen.has("tls", "ok", "in use");
    seen.has("redis", "ok", "answers at rediss://localhost");
}

#[tokio::test]
async fn wrong_password_differs_from_an_absent_redis_and_is_hidden() {
    let redis = TestRedis::start_with(["--requirepass", "right"]).await;
    for url in [format!("{}?pass=sesame", redis.url()), redis.url()] {
        let seen = doctor(&[], &[("REDIS_URL".to_owned(), url)].into()).await;
        assert_eq!(seen.code, 3);
        seen.has("redis", "problem", "wrong user or password");
        assert!(!format!("{:?}", seen.findings).contains("sesame"));
    }
    let seen = doctor(&["--redis", "http://x"], &at(&redis)).await;
    assert_eq!(seen.code, 2);
    seen.has("redis", "problem", "invalid Redis settings");
}

#[tokio::test]
async fn stalled_redis_ends_the_check_in_time() {
    let redis = TestRedis::start().await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(redis.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // However patient the settings are.
    let mut env = at(&redis);
    for name in ["CONNECT_TIMEOUT", "RESPONSE_TIMEOUT"] {
        env.insert(format!("REDCALL__REDIS__{name}"), "1m".to_owned());
    }
    let began = std::time::Instant::now();
    let seen = doctor(&[], &env).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(seen.code, 3);
    seen.has("redis", "problem", "cannot be reached");
}
