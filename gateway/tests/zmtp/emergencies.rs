//! Emergencies of a device, which sends each of them twice: on the topic of emergencies, and on
//! that of all events. Redcall, and the subscribers of its own door, get each message once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use futures_util::StreamExt as _;
use redcall_client::{Client, EventItem, EventStream, Kind};
use redcall_gateway::zmtp::wire::{Decoder, Incoming, SocketType, encode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use crate::peers::{PATIENCE, Raw};
use crate::support::Stage;

const EMERGENCY: u32 = 2001;
const EVENT: u32 = 4001;

/// The event sockets of a device.
struct Device(TcpListener);

impl Device {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// Waits for a gateway that subscribes.
    async fn subscribed(&self) -> Subscription {
        let accepted = timeout(PATIENCE, self.0.accept()).await.expect("a gateway");
        let (read, mut write) = accepted.unwrap().0.into_split();
        write.write_all(&encode::opening(SocketType::Pub)).await.unwrap();
        let mut read = FramedRead::new(read, Decoder::new(SocketType::Pub, 1 << 20));
        loop {
            let incoming = timeout(PATIENCE, read.next()).await.expect("a subscription");
            if matches!(incoming.unwrap().unwrap(), Incoming::Subscribe(_)) {
                return Subscription { read, write };
            }
        }
    }
}

struct Subscription {
    read: FramedRead<OwnedReadHalf, Decoder>,
    write: OwnedWriteHalf,
}

impl Subscription {
    /// Sends the event with this number as its context.
    async fn send(&mut self, topic: u32, kind: u32, number: u64) {
        let body = json!({"kind": kind, "when": 1.5, "index": number, "context": number});
        let message = encode::message(&[&topic.to_le_bytes(), body.to_string().as_bytes()]);
        self.write.write_all(&message).await.unwrap();
    }

    /// Waits until the gateway closes the connection; its PINGs are passed over.
    async fn end(mut self) {
        let reading = async { while let Some(Ok(_)) = self.read.next().await {} };
        timeout(PATIENCE, reading).await.expect("the end of the connection");
    }
}

/// Returns kind, context and origin of the next event.
async fn next(events: &mut EventStream) -> (u32, Value, Option<String>) {
    let item = timeout(PATIENCE, events.next()).await.expect("no event").unwrap().unwrap();
    let EventItem::Event(event) = item else { panic!("{item:?}") };
    (event.kind.0, serde_json::from_str(event.context.get()).unwrap(), event.origin.clone())
}

/// Returns the contexts of the events up to one of kind 9.
async fn until_last(events: &mut EventStream) -> Vec<Value> {
    let mut contexts = Vec::new();
    loop {
        match next(events).await {
            (9, ..) => return contexts,
            (_, context, _) => contexts.push(context),
        }
    }
}

async fn topics(client: &Client) -> [EventStream; 2] {
    let of = async |topic: &str| client.events(topic).subscribe().await.unwrap();
    [of("emergency").await, of("event").await]
}

/// Ends both topics with an event of kind 9.
async fn end(client: &Client) {
    for topic in ["emergency", "event"] {
        client.publish(topic, Kind(9), &json!("last")).await.unwrap();
    }
}

#[tokio::test]
async fn relayed_emergency_is_one_event_of_each_topic() {
    let (stage, device) = (Stage::new().await, Device::new().await);
    let client = stage.client().await;
    let [mut emergencies, mut events] = topics(&client).await;
    let gateway = stage
        .gateway(&format!(
            "[gateways.far]\nprotocol = \"zmtp\"\nconnect_events = [\"{}\"]\n\
             [gateways.near]\nprotocol = \"zmtp\"\nlisten_events = [\"127.0.0.1:0\"]\n",
            device.address()
        ))
        .await;
    let mut subscriber = Raw::subscriber(gateway.address("near", "listen_events")).await;
    let mut first = device.subscribed().await;
    // Two of them, interleaved, and one in the other order.
    for (topic, number) in [
        (EMERGENCY, 1),
        (EMERGENCY, 2),
        (EVENT, 1),
        (EVENT, 2),
        (EVENT, 3),
        (EMERGENCY, 3),
        (EMERGENCY, 4),
    ] {
        first.send(topic, 101, number).await;
    }
    // Between the messages of the fourth, the connection ends. The fifth has one message.
    for number in 1..=4 {
        let (kind, context, _) = next(&mut emergencies).await;
        assert_eq!((kind, context), (101, json!(number)));
    }
    drop(first);
    let mut second = device.subscribed().await;
    second.send(EVENT, 101, 4).await;
    second.send(EVENT, 102, 5).await;
    second.send(EVENT, 1101, 6).await;
    for number in 1..=6 {
        assert_eq!(next(&mut events).await.1, number);
    }
    end(&client).await;
    assert_eq!(until_last(&mut emergencies).await, [json!(5)]);
    assert_eq!(until_last(&mut events).await, Vec::<Value>::new());

    // The same for a subscriber of our own door: first on the topic of emergencies.
    let (mut published, mut last) = ([Vec::new(), Vec::new()], 0);
    while last < 2 {
        let (topic, body) = subscriber.event().await;
        let body: Value = serde_json::from_str(&body).unwrap();
        match (topic, body["kind"].as_u64()) {
            (EMERGENCY | EVENT, Some(9)) => last += 1,
            (EMERGENCY, _) => published[0].push(body["context"].as_u64().unwrap()),
            (EVENT, _) => {
                let number = body["context"].as_u64().unwrap();
                assert!(number == 6 || published[0].contains(&number), "{number}: {published:?}");
                published[1].push(number);
            }
            _ => {} // a heartbeat
        }
    }
    for numbers in &mut published {
        numbers.sort_unstable();
    }
    assert_eq!(published, [vec![1, 2, 3, 4, 5], vec![1, 2, 3, 4, 5, 6]]);
}

/// A stopped process finds events in its connection which the next gateway has relayed.
#[tokio::test]
async fn stalled_gateway_relays_no_event_of_the_next_one() {
    let (stage, device) = (Stage::new().await, Device::new().await);
    let client = stage.client().await;
    let [mut emergencies, mut events] = topics(&client).await;
    let door = format!(
        "[gateways.far]\nprotocol = \"zmtp\"\nconnect_events = [\"{}\"]\n",
        device.address()
    );
    let first = stage.program(&door);
    let mut of_first = device.subscribed().await;
    of_first.send(EVENT, 101, 1).await;
    assert_eq!(next(&mut events).await.1, 1);
    first.signal(Signal::STOP);
    let second = stage.gateway(&door).await;
    // Once the lease of the first one has ended.
    let mut of_second = device.subscribed().await;
    for (topic, kind, number) in [(EMERGENCY, 101, 2), (EVENT, 101, 2), (EVENT, 5, 3)] {
        of_first.send(topic, kind, number).await;
        of_second.send(topic, kind, number).await;
    }
    for number in [2, 3] {
        assert_eq!(next(&mut events).await.1, number);
    }
    first.signal(Signal::CONT);
    of_first.end().await;
    end(&client).await;
    assert_eq!(until_last(&mut events).await, Vec::<Value>::new());
    assert_eq!(until_last(&mut emergencies).await, [json!(1), json!(2)]);
    // It is the next one's turn again, and no other connection is open.
    drop(second);
    let mut again = device.subscribed().await;
    again.send(EVENT, 5, 4).await;
    assert_eq!(next(&mut events).await.1, 4);
}
