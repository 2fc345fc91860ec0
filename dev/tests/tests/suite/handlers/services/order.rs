//! One at a time and in order, with several senders and workers.

use futures_util::future::join_all;
use redcall_client::ServiceOp;
use redcall_common::settings::{ServiceSettings, ServiceTasks};
use redcall_tests::{Bench, counter};
use redcall_worker::{Next, ServiceRequest, Worker};
use serde_json::{Value, json};

use super::{add, bench, data, served, state};

/// Appends its arguments to the state, which is a list.
async fn append(task: ServiceRequest<Vec<Value>, Value>) -> Next<Vec<Value>, usize> {
    let mut state = task.state;
    state.push(task.args);
    let answer = state.len();
    // So that others get their turn: two that run at once would lose one.
    tokio::task::yield_now().await;
    Next { state, answer }
}

fn list(worker: Worker) -> Worker {
    worker.handler("append", append)
}

#[tokio::test]
async fn unawaited_operations_of_one_caller_run_in_order() {
    let mut bench = Bench::new().await;
    let tasks = ServiceTasks::Compiled { init: None, execute: "append".to_owned(), exit: None };
    bench.settings.services.insert("list".to_owned(), ServiceSettings::new(tasks));
    let _workers = [
        bench.worker_with(list).await,
        bench.worker_with(list).await,
        bench.worker_with(list).await,
    ];
    let client = bench.client().await;
    let instances = ["", "a", "b"].map(|key| client.service("list").instance(key));
    for service in &instances {
        data(service.initialize(&json!([])).await);
    }
    for n in 0..200 {
        for service in &instances {
            service.request(ServiceOp::Execute, &n).unwrap().send().await.unwrap();
        }
    }
    let all: Vec<u32> = (0..200).collect();
    for service in &instances {
        // Behind all others; and without a task of its own, `exit` answers the state.
        assert_eq!(data(service.terminate(&()).await), json!(all));
    }
}

#[tokio::test]
async fn many_callers_on_many_workers_lose_no_step() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let _other = bench.worker_with(counter).await;
    let service = client.service("counter");
    data(service.initialize(&0).await);
    let caller = async || {
        for _ in 0..25 {
            data(add(&service, 1).await);
        }
    };
    join_all((0..20).map(|_| caller())).await;
    assert_eq!(state(&service).await, Some((500, 500)));
    assert_eq!(service.state(super::TIMEOUT).await.unwrap().unwrap().version, 501);
}

#[tokio::test]
async fn busy_instance_delays_no_other() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let services: Vec<_> =
        (0..50).map(|n| client.service("counter").instance(&format!("user-{n}"))).collect();
    let each = async |service: &redcall_client::Service| {
        data(service.initialize(&0).await);
        for _ in 0..10 {
            data(add(service, 1).await);
        }
        data(service.terminate(&()).await)
    };
    for ended in join_all(services.iter().map(each)).await {
        assert_eq!(ended, json!({"value": 10, "requests": 11}));
    }
}
