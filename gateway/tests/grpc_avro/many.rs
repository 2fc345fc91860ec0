//! A thousand connections at once, each with a stream of the states of its job.

use futures_util::future::join_all;
use http_body_util::BodyExt as _;

use crate::door::{door, worker};
use crate::raw::{self, connect};
use crate::support::{Stage, allow_many_files};

const CLIENTS: usize = 1000;

#[tokio::test]
async fn thousand_connections_follow_their_jobs_at_once() {
    allow_many_files();
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let address = gateway.address("scix", "listen");
    // All connect before the first one is accepted.
    let opened = join_all((0..CLIENTS).map(async |_| {
        let mut sender = connect(address, 1 << 16).await;
        let mut body = sender.send_request(raw::init(true, &[])).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        (sender, body)
    }))
    .await;
    let (_worker, job) = worker(&stage).await;
    (0..CLIENTS).for_each(|_| job.end_one());
    let codes = join_all(opened.into_iter().map(async |(_sender, mut body)| {
        let mut code = None;
        while let Some(frame) = body.frame().await {
            if let Ok(trailers) = frame.unwrap().into_trailers() {
                code = Some(trailers["grpc-status"].clone());
            }
        }
        code.expect("trailers")
    }))
    .await;
    assert!(codes.iter().all(|code| code == "0"), "{codes:?}");
}
