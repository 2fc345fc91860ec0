//! The bytes of recorded sessions, and inputs that end a connection.

use bytes::{Bytes, BytesMut};
use redcall_testkit::unhex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::codec::Decoder as _;

use super::address::ReturnPath;
use super::filters::{Filters, MAX_FILTERS};
use super::{Decoder, Incoming, SocketType, Violation, encode, greeting};

const LARGEST: usize = 1 << 20;

/// One TCP segment of a recorded session.
#[derive(Deserialize)]
struct Segment {
    c: u32,
    d: String,
    #[serde(default)]
    hex: String,
}

/// A command with its answer, or an event.
#[derive(Deserialize)]
struct Meaning<'a> {
    #[serde(borrow)]
    req: Option<&'a RawValue>,
    rep: Option<String>,
    #[serde(rename = "pub")]
    published: Option<(String, String)>,
}

fn lines(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/zmtp");
    std::fs::read_to_string(format!("{folder}/{name}.jsonl")).unwrap()
}

/// Returns the segments of one direction of a connection.
fn segments(name: &str, connection: u32, direction: &str) -> Vec<Vec<u8>> {
    let all = lines(name);
    let all = all.lines().map(|line| serde_json::from_str::<Segment>(line).unwrap());
    let wanted = all.filter(|segment| segment.c == connection && segment.d == direction);
    wanted.map(|segment| unhex(&segment.hex)).collect()
}

fn read(ours: SocketType, segments: &[Vec<u8>]) -> Result<Vec<Incoming>, Violation> {
    let (mut decoder, mut buffer) = (Decoder::new(ours, LARGEST), BytesMut::new());
    let mut all = Vec::new();
    for segment in segments {
        buffer.extend_from_slice(segment);
        while let Some(incoming) = decoder.decode(&mut buffer)? {
            all.push(incoming);
        }
    }
    Ok(all)
}

#[test]
fn recorded_commands_are_read_and_their_answers_written() {
    for version in ["0.9.7", "0.12.0"] {
        let (session, means) = (format!("{version}.req-rep"), lines(&format!("{version}.means")));
        let means = means.lines().map(|line| serde_json::from_str::<Meaning>(line).unwrap());
        let pairs: Vec<_> = means.filter_map(|one| one.req.zip(one.rep)).collect();

        let sent = segments(&session, 1, "C>S");
        let commands = read(SocketType::Rep, &sent).unwrap();
        // The peer sends greeting and READY before our first byte is complete.
        assert_eq!(commands[0], Incoming::Ready { minor: 1 });
        let mut written = encode::opening(SocketType::Rep);
        for (incoming, (request, reply)) in commands[1..].iter().zip(&pairs) {
            let Incoming::Message(frames) = incoming else { panic!("{incoming:?}") };
            let (path, body) = ReturnPath::split(frames.clone()).unwrap();
            assert_eq!(body, [Bytes::copy_from_slice(request.get().as_bytes())]);
            written.extend(encode::message(&path.answer(reply.as_bytes())));
        }
        assert_eq!(written, segments(&session, 1, "S>C").concat(), "{version}");

        // The same session, seen from the console.
        let answers = read(SocketType::Req, &segments(&session, 1, "S>C")).unwrap();
        let mut written = encode::opening(SocketType::Req);
        for (incoming, (request, reply)) in answers[1..].iter().zip(&pairs) {
            let answer = [Bytes::new(), Bytes::copy_from_slice(reply.as_bytes())];
            assert_eq!(*incoming, Incoming::Message(answer.into()));
            written.extend(encode::message(&[b"", request.get().as_bytes()]));
        }
        assert_eq!((answers.len(), pairs.len()), (6, 5));
        assert_eq!(written, sent.concat(), "{version}");
    }
}

#[test]
fn recorded_subscriptions_are_read_and_their_events_written() {
    for version in ["0.9.7", "0.12.0"] {
        let (session, means) = (format!("{version}.sub-pub"), lines(&format!("{version}.means")));
        let means = means.lines().map(|line| serde_json::from_str::<Meaning>(line).unwrap());
        let published: Vec<_> = means.filter_map(|one| one.published).collect();

        let all = read(SocketType::Pub, &segments(&session, 1, "C>S")).unwrap();
        assert_eq!(all, [Incoming::Ready { minor: 1 }, Incoming::Subscribe(Bytes::new())]);
        let event = Bytes::from_static(&[0xa1, 0x0f, 0, 0]);
        let one = read(SocketType::Pub, &segments(&session, 2, "C>S")).unwrap();
        assert_eq!(one[1..], [Incoming::Subscribe(event.clone()), Incoming::Cancel(event)]);

        let mut written = encode::opening(SocketType::Pub);
        for (topic, body) in &published {
            written.extend(encode::message(&[&unhex(topic), body.as_bytes()]));
        }
        let sent = segments(&session, 1, "S>C");
        assert_eq!(written, sent.concat(), "{version}");
        assert_eq!(read(SocketType::Sub, &sent).unwrap().len(), 1 + published.len());
        let subscribing = [encode::opening(SocketType::Sub), encode::subscribe(b"", 1)].concat();
        assert_eq!(subscribing, segments(&session, 1, "C>S").concat());
    }
}

/// Greeting and READY of a peer of this type, then `more`.
fn from_peer(socket: &str, more: &[u8]) -> Vec<u8> {
    let mut ready = vec![4, 22 + socket.len() as u8];
    ready.extend(b"\x05READY\x0bSocket-Type\0\0\0");
    ready.push(socket.len() as u8);
    ready.extend(socket.as_bytes());
    [&greeting::write()[..], &ready, more].concat()
}

#[test]
fn bytes_may_arrive_one_by_one() {
    let long = vec![b'x'; 300];
    let all = [encode::message(&[b"", &long]), b"\x04\x07\x04PING\0\x05".into()].concat();
    let one_by_one: Vec<_> = from_peer("REQ", &all).into_iter().map(|byte| vec![byte]).collect();
    let message = vec![Bytes::new(), Bytes::from(long)];
    let expected =
        [Incoming::Ready { minor: 1 }, Incoming::Message(message), Incoming::Ping(Bytes::new())];
    assert_eq!(read(SocketType::Rep, &one_by_one).unwrap(), expected);
}

#[test]
fn subscriptions_of_both_versions_are_understood() {
    let peer = from_peer("XSUB", b"\0\x03\x01ab\x04\x0b\x09SUBSCRIBEc\0\x03\x00ab\0\x01\x07");
    let read = read(SocketType::Pub, &[peer]).unwrap();
    let (ab, c) = (Bytes::from_static(b"ab"), Bytes::from_static(b"c"));
    let expected = [Incoming::Subscribe(ab.clone()), Incoming::Subscribe(c), Incoming::Cancel(ab)];
    assert_eq!(read[1..], expected);
    assert_eq!(encode::subscribe(b"ab", 0), b"\0\x03\x01ab");
}

#[test]
fn ping_is_answered_with_its_context_and_unknown_commands_are_ignored() {
    let peer = from_peer("DEALER", b"\x04\x05\x04PONG\x04\x04\x03NEW\x04\x0a\x04PING\0\x64abc");
    let read = read(SocketType::Rep, &[peer]).unwrap();
    assert_eq!(read[1..], [Incoming::Pong, Incoming::Ping(Bytes::from_static(b"abc"))]);
    assert_eq!(encode::ping(), b"\x04\x07\x04PING\0\0");
    assert_eq!(encode::pong(b"abc"), b"\x04\x08\x04PONGabc");
}

#[test]
fn addresses_before_the_delimiter_are_repeated() {
    let frames = [&b"a1"[..], b"", b"{}"].map(Bytes::from_static);
    let (path, body) = ReturnPath::split(frames.into()).unwrap();
    assert_eq!(path.answer(b"[]"), [&b"a1"[..], b"", b"[]"]);
    assert_eq!(body, [Bytes::from_static(b"{}")]);
    assert_eq!(ReturnPath::split(vec![Bytes::from_static(b"{}")]), None);
}

#[test]
fn filters_match_prefixes_until_the_last_cancellation() {
    let mut filters = Filters::default();
    let topic = 4001_u32.to_le_bytes();
    assert!(!filters.matches(topic));
    for prefix in [&topic[..2], &topic[..2], b"longer than a topic"] {
        filters.subscribe(prefix).unwrap();
    }
    assert!(filters.matches(topic) && !filters.matches(1001_u32.to_le_bytes()));
    filters.cancel(&topic[..2]);
    filters.cancel(b"unknown");
    assert!(filters.matches(topic));
    filters.cancel(&topic[..2]);
    assert!(!filters.matches(topic));
    filters.subscribe(b"").unwrap();
    assert!(filters.matches(topic));
    for number in 1..MAX_FILTERS as u32 {
        filters.subscribe(&number.to_be_bytes()).unwrap();
    }
    assert!(matches!(filters.subscribe(b"one"), Err(Violation::TooManyFilters { .. })));
    filters.subscribe(b"").unwrap();
}

/// Everything that must end a connection at once: the socket, the bytes, and the violation.
#[test]
fn hostile_input_ends_the_connection() {
    let peer = |socket: &str, more: &[u8]| from_peer(socket, more);
    let changed = |index: usize, byte: u8| {
        let mut bytes = peer("REQ", b"");
        bytes[index] = byte;
        bytes
    };
    let ready = |metadata: &[u8]| {
        let head = [4, 6 + metadata.len() as u8];
        [&greeting::write()[..], &head, b"\x05READY", metadata].concat()
    };
    let many = [&[1, 0].repeat(64)[..], &[0, 0]].concat();
    let half = [&[3][..], &(1_u64 << 19).to_be_bytes(), &vec![0; 1 << 19]].concat();
    let cases: Vec<(&str, SocketType, Vec<u8>)> = vec![
        ("Signature", SocketType::Rep, b"GET / HTTP/1.1\r\n".to_vec()),
        ("Signature", SocketType::Rep, changed(0, 0)),
        ("Signature", SocketType::Rep, changed(9, 0x7e)),
        ("Version", SocketType::Rep, changed(10, 2)[..11].to_vec()),
        ("Mechanism", SocketType::Rep, changed(12, b'C')),
        ("Mechanism", SocketType::Rep, changed(31, b'X')[..32].to_vec()),
        ("NotReady", SocketType::Rep, [&greeting::write()[..], &[0, 0]].concat()),
        ("NotReady", SocketType::Rep, [&greeting::write()[..], b"\x04\x07\x04PING\0\0"].concat()),
        ("Refused", SocketType::Rep, [&greeting::write()[..], b"\x04\x07\x05ERROR\0"].concat()),
        ("Refused", SocketType::Rep, peer("REQ", b"\x04\x07\x05ERROR\0")),
        ("Command", SocketType::Rep, peer("REQ", &encode::ready(SocketType::Req))),
        ("Command", SocketType::Rep, ready(b"")),
        ("Command", SocketType::Rep, ready(b"\x0bSocket-Type\0\0\0\x09REQ")),
        ("Command", SocketType::Rep, ready(b"\x0bSocket-Type\xff\xff\xff\xffREQ")),
        ("Command", SocketType::Rep, ready(b"\x0bSocket-Type\0\0")),
        ("Command", SocketType::Rep, ready(b"\0\0\0\0\0")),
        ("Command", SocketType::Rep, ready(b"\xffSocket")),
        ("Command", SocketType::Rep, ready(&b"\x0bSocket-Type\0\0\0\x03REQ".repeat(2))),
        ("Command", SocketType::Rep, [&greeting::write()[..], b"\x04\0"].concat()),
        ("Command", SocketType::Rep, peer("REQ", b"\x04\x01\0")),
        ("Command", SocketType::Rep, peer("REQ", b"\x04\x06\x04PING\0")),
        (
            "Command",
            SocketType::Rep,
            peer("REQ", &[&b"\x04\x18\x04PING\0\0"[..], &[0; 17]].concat()),
        ),
        ("Command", SocketType::Rep, peer("REQ", b"\x04\x0b\x09SUBSCRIBEc")),
        ("SocketType", SocketType::Rep, peer("SUB", b"")),
        ("SocketType", SocketType::Rep, peer("REP", b"")),
        ("SocketType", SocketType::Rep, peer("req", b"")),
        ("SocketType", SocketType::Rep, peer("\u{1b}[2J", b"")),
        ("SocketType", SocketType::Pub, peer("REQ", b"")),
        ("SocketType", SocketType::Req, peer("PUB", b"")),
        ("SocketType", SocketType::Sub, peer("REP", b"")),
        ("Flags", SocketType::Rep, peer("REQ", &[0x08, 0])),
        ("Flags", SocketType::Rep, peer("REQ", &[0x80])),
        ("Flags", SocketType::Rep, peer("REQ", &[0x05, 0])),
        ("TooLarge", SocketType::Rep, peer("REQ", &[&[2][..], &[0xff; 8]].concat())),
        ("TooLarge", SocketType::Rep, peer("REQ", b"\x02\0\0\0\0\0\x10\0\x01")),
        ("TooLarge", SocketType::Rep, peer("REQ", b"\x06\0\0\0\0\0\0\x10\x01")),
        ("TooLarge", SocketType::Pub, peer("SUB", b"\x02\0\0\0\0\0\0\x10\x01")),
        ("TooLarge", SocketType::Rep, peer("REQ", &[&half[..], &half[..], &[1, 1]].concat())),
        ("TooManyFrames", SocketType::Rep, peer("REQ", &many)),
    ];
    for (index, (expected, ours, bytes)) in cases.into_iter().enumerate() {
        let error = read(ours, &[bytes]).expect_err(&format!("case {index} {expected}"));
        let name = format!("{error:?}");
        assert!(name.starts_with(expected), "case {index}: {expected}, got {name}");
    }
}

#[test]
fn announced_length_reserves_no_memory() {
    let mut decoder = Decoder::new(SocketType::Rep, usize::MAX);
    let mut buffer = BytesMut::from(&from_peer("REQ", &[&[2][..], &[0x0f; 8]].concat())[..]);
    while decoder.decode(&mut buffer).unwrap().is_some() {}
    assert!(buffer.capacity() < 4096, "{}", buffer.capacity());
}
