//! A client without its runtime answers at once: none of its operations could be carried out.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::{Duration, Instant};

use crate::support::RESPONSE_KEY;
use redcall_client::{Client, Code, CompletionToken, Kind, StatusStream};
use redcall_common::name::new_id;
use redcall_tests::Bench;

/// Far below each timeout, and far above all that a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(10);

/// The operations of a client without its runtime.
async fn after(bench: &Bench, used_before: bool) -> Client {
    let settings = bench.settings.clone();
    let making = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = Client::from_settings(&settings).await.unwrap();
            if used_before {
                client.call("echo", &1).await.unwrap();
                client.pause("low").await.unwrap();
            }
            client
        })
    });
    tokio::task::spawn_blocking(|| making.join().unwrap()).await.unwrap()
}

#[tokio::test]
async fn client_without_its_runtime_answers_at_once() {
    let mut bench = Bench::new().await;
    bench.settings.client.timeout = Duration::from_secs(30);
    for used_before in [false, true] {
        let client = after(&bench, used_before).await;
        let token = CompletionToken::new("default", &new_id());
        let since = Instant::now();
        let mut codes = vec![
            client.pause("default").await.unwrap_err().code(),
            client.resume("default").await.unwrap_err().code(),
            client.is_paused("default").await.unwrap_err().code(),
            client.cancel_in("default", "x").await.unwrap_err().code(),
            client.status(("default", "x")).await.unwrap_err().code(),
            client.monitor(("default", "x")).await.err().unwrap().code(),
            client.call("echo", &1).await.unwrap_err().code(),
            client.call_and_wait("echo", &1).await.unwrap_err().code(),
            client.request("echo").stream().await.err().map_or(Code::Internal, |e| e.code()),
            client.request("echo").submit().await.err().unwrap().code(),
            client.request("echo").delay(AT_ONCE).send().await.unwrap_err().code(),
            client.fetch(RESPONSE_KEY).await.unwrap_err().code(),
            client.follow(RESPONSE_KEY, 1).await.err().unwrap().code(),
            client.settle(&token, Ok(1)).await.unwrap_err().code(),
            client.publish("news", Kind(7), &1).await.unwrap_err().code(),
            client.events("news").subscribe().await.err().unwrap().code(),
        ];
        let state = client.service("counter").state(Duration::from_secs(30)).await;
        codes.push(state.unwrap_err().code());
        client.flush().await;
        assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
        let wrong = codes.iter().position(|code| *code != Code::Internal);
        assert_eq!(wrong, None, "{codes:?}");
    }
}

#[tokio::test]
async fn waits_end_with_the_runtime_of_their_client() {
    let mut bench = Bench::new().await;
    bench.settings.client.timeout = Duration::from_secs(30);
    let _worker = bench.worker().await;
    let settings = bench.settings.clone();
    let (give, given) = tokio::sync::oneshot::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let making = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = runtime.block_on(Client::from_settings(&settings)).unwrap();
        give.send(client).ok().unwrap();
        ends.recv().unwrap();
    });
    let client: Client = given.await.unwrap();
    let nap = serde_json::json!({"ms": 60_000});
    let monitored = client.request("sleep").data(&nap).track_status(Duration::from_secs(60));
    let ticket = monitored.submit().await.unwrap();
    let mut states: StatusStream = client.monitor(&ticket.id).await.unwrap();
    while states.next().await.unwrap().unwrap().state != redcall_client::JobState::Processing {}
    let mut events = client.events("news").subscribe().await.unwrap();
    let mut stream = client.request("sleep").data(&nap).stream().await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.call_and_wait("sleep", &nap).await }
    });
    let fetching = tokio::spawn(async move { ticket.wait().await });
    redcall_testkit::eventually("all to run", async || {
        bench.workers().await.iter().any(|worker| worker.running == 3).then_some(())
    })
    .await;
    let since = Instant::now();
    end.send(()).unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert!(fetching.await.unwrap().is_err());
    assert!(stream.next().await.is_none_or(|update| update.is_err()));
    assert!(states.next().await.unwrap().is_err());
    assert!(events.next().await.is_none_or(|event| event.is_err()));
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    tokio::task::spawn_blocking(|| making.join().unwrap()).await.unwrap();
}
