//! Workers and processes that die: a state is changed once, and the next request runs.

use std::time::Instant;

use redcall_client::Code;
use redcall_common::settings::{ProcessSettings, ServiceSettings, ServiceTasks};
use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::{add, bench, data, state};
use crate::support::failed;

/// Set by `cargo xtask long services`: the run that takes minutes instead of the short one.
const LONG: &str = "REDCALL_TEST_LONG";

#[tokio::test]
async fn kills_lose_no_step_and_repeat_none() {
    let (callers, steps, kills) =
        if std::env::var_os(LONG).is_some() { (20, 500, 20) } else { (20, 20, 2) };
    let all = callers * steps;
    let mut bench = bench().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    let mut env = bench.environment();
    let settings = [
        ("INIT", "counter.init"),
        ("EXECUTE", "counter.execute"),
        ("EXIT", "counter.exit"),
        // The same request may be in the hands of each that is killed.
        ("MAX_CRASHES", "1000"),
    ];
    for (key, value) in settings {
        env.insert(format!("REDCALL__SERVICES__COUNTER__{key}"), value.to_owned());
    }
    let worker = || Program::start("counter", &[], &env);
    let (mut running, client) = (worker(), bench.client().await);
    let service = client.service("counter");
    data(service.initialize(&0).await);
    let since = Instant::now();
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        let service = service.clone();
        calling.spawn(async move {
            for _ in 0..steps {
                data(add(&service, 1).await);
            }
        });
    }
    for kill in 1..=kills {
        eventually("some steps", async || {
            let (value, _) = state(&service).await.unwrap();
            (value >= kill * all / (kills + 1)).then_some(())
        })
        .await;
        running.signal(Signal::KILL);
        running = worker();
    }
    while let Some(caller) = calling.join_next().await {
        caller.unwrap();
    }
    let (value, requests) = state(&service).await.unwrap();
    println!(
        "{all} executes of {callers} callers, {kills} kills, {:.1} s: value {value}, requests \
         {requests}",
        since.elapsed().as_secs_f64()
    );
    assert_eq!((value, requests), (all, u64::try_from(all).unwrap()));
    let ended = data(service.terminate(&()).await);
    assert_eq!(ended, json!({"value": all, "requests": all + 1}));
    drop(running);
}

#[tokio::test]
async fn poison_request_is_given_up_and_the_next_one_runs() {
    let mut bench = Bench::new().await;
    // Dies of `"die"`; else the state is how many executes there were in this process.
    let script = r#"n=0; while read -r line; do
        id=${line#*'"id":'}; id=${id%%,*}; id=${id%%\}*}
        case $line in *'"die"'*) exit 1;; *'"execute"'*) n=$((n + 1));; esac
        printf '{"jsonrpc":"2.0","id":%s,"result":{"state":%s,"answer":%s}}\n' "$id" "$n" "$n"
    done"#;
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let tasks = ServiceTasks::Process(ProcessSettings::new(command));
    bench.settings.services.insert("mortal".to_owned(), ServiceSettings::new(tasks));
    let (_worker, client) = (bench.worker().await, bench.client().await);
    let service = client.service("mortal");
    data(service.initialize(&()).await);
    data(service.execute(&"live").await);
    let (died, next) = tokio::join!(service.execute(&"die"), service.execute(&"live"));
    let error = failed(died);
    assert_eq!((error.code, error.attempt), (Code::WorkerLost, Some(3)), "{error}");
    assert_eq!(data(next), json!(1));
    let dead = "redcall:{service:mortal}:dead";
    let count = redis::cmd("XLEN").arg(dead).to_owned();
    let letters: usize = count.query_async(&mut bench.redis.connection().await).await.unwrap();
    assert_eq!(letters, 1);
    // The one that died changed nothing.
    assert_eq!(service.state(super::TIMEOUT).await.unwrap().unwrap().version, 3);
}
