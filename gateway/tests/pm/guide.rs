//! The settings and the messages of the guide's page, as it shows them.

use redcall_client::{Client, Update};
use redcall_worker::{HandlerError, Json, Request, State, Worker};
use serde_json::{Value, json};

use crate::raw::{Peer, server};
use crate::support::Stage;

/// Returns the block after the mark `name`.
fn block(name: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/gateway-pm.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("<!-- test:{name} -->\n```")).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Plays the messages of the block `name`: sends those of the peer, and reads those of the gateway.
/// Those between two of the peer may come in any order.
async fn play(peer: &mut Peer, name: &str, job: &str) {
    let block = block(name).replace("JOB", job);
    let mut wanted = Vec::new();
    for line in block.lines().chain(["> "]) {
        let (side, message) = line.split_once(' ').unwrap();
        if side == "<" {
            wanted.push(message.to_owned());
            continue;
        }
        let mut read = Vec::new();
        while read.len() < wanted.len() {
            read.push(peer.next_text().await.expect("a message"));
        }
        read.sort();
        wanted.sort();
        assert_eq!(read, wanted);
        wanted.clear();
        if !message.is_empty() {
            peer.send_text(message).await;
        }
    }
}

async fn dataflow_run(
    request: Request,
    client: State<Client>,
) -> Result<Json<Value>, HandlerError> {
    request.progress(&json!({"percent": 50})).await?;
    let mut lookup = client.request("graph_get").queue("frontend");
    if let Some(session) = request.headers().get("sid") {
        lookup = lookup.header("sid", session);
    }
    Ok(Json(lookup.wait().await?.json()?))
}

#[tokio::test]
async fn application_made_of_jobs_speaks_as_the_guide_shows() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let settings = stage.settings("[worker]\nqueues = [\"pm\"]\n");
    let job = |worker: Worker| worker.state(client).handler("dataflow_run", dataflow_run);
    let _worker = stage.worker_of(settings, job).await;
    let (listener, address) = server().await;
    let _gateway = stage.gateway(&block("pm-connect").replace("127.0.0.1:9000", &address)).await;
    let mut peer = Peer::accept(&listener).await;
    play(&mut peer, "pm-connect-link", "").await;
}

#[tokio::test]
async fn application_that_runs_jobs_is_asked_as_the_guide_shows() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let gateway = stage.gateway(&block("pm-listen").replace(":9000", ":0")).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    redcall_testkit::eventually("the worker of the door", async || {
        let queue = client.inspect().queue("pm").await.ok()?;
        (queue.workers == 1).then_some(())
    })
    .await;
    let request = client.request("dataflow_run").queue("pm").data(&json!({"dataflow": {}}));
    let mut updates = request.stream().await.unwrap();
    let id = updates.id().to_owned();
    play(&mut peer, "pm-listen-link", &id).await;
    let progress = updates.next().await.unwrap().unwrap();
    assert!(matches!(progress, Update::Progress(data) if data.get() == r#"{"percent":50}"#));
    let done = updates.next().await.unwrap().unwrap();
    assert!(matches!(done, Update::Done(answer) if answer.data.get() == r#"{"type": 0}"#));
}
