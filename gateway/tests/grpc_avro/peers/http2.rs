//! Frames of HTTP/2, byte by byte, for hostile inputs. `cargo xtask long doors` includes this file.
#![allow(dead_code, reason = "each program uses a part of it")]

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal without an index.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The headers that open a call of `path`.
pub(crate) fn call(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// One of these for each of `count` streams of the client.
pub(crate) fn streams(count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| of(2 * n + 1)).collect()
}

/// The start of a connection with these settings, and then `bytes`.
pub(crate) fn start(settings: &[u8], bytes: &[u8]) -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, settings)[..], bytes].concat()
}

/// Floods that both programs send, each with its name: few bytes that cost much, on a connection
/// that calls `path`.
pub(crate) fn floods(path: &str) -> Vec<(&'static str, Vec<u8>)> {
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let bomb = [entry, vec![0xbe; 10_000]].concat();
    let block = header("x", &"v".repeat(100)).repeat(100);
    let endless = frame(CONTINUATION, 0, 1, &block).repeat(3000);
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(20_000);
    let begin = |block: &[u8]| frame(HEADERS, 0, 1, block);
    let open = |stream| frame(HEADERS, END_HEADERS, stream, &call(path));
    let reset = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let large = frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let half = [&[0, 0, 0x3f, 0, 0][..], &[1; 8000]].concat();
    let inputs = [
        ("a frame of 16 MiB", [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 99]].concat()),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
        ),
        ("few bytes for 40 MB of headers", frame(HEADERS, 5, 1, &bomb)),
        ("headers without an end", [begin(&call(path)), endless].concat()),
        ("empty continuations", [begin(&[]), empty].concat()),
        ("streams that are reset", streams(20_000, |n| [open(n), reset(n)].concat())),
        ("streams without an end", streams(2000, open)),
        ("20,000 settings", frame(SETTINGS, 0, 0, &[]).repeat(20_000)),
        ("20,000 pings", frame(PING, 0, 0, &[7; 8]).repeat(20_000)),
        ("data over the window", [open(1), frame(DATA, 0, 1, &[0; 16_384]).repeat(200)].concat()),
        ("empty data frames", [open(1), frame(DATA, 0, 1, &[]).repeat(20_000)].concat()),
        ("a message of 4 GiB", [open(1), large].concat()),
        (
            "half a message on each of 100 streams",
            streams(100, |n| [open(n), frame(DATA, 0, n, &half)].concat()),
        ),
    ];
    inputs.into_iter().map(|(name, bytes)| (name, start(&[], &bytes))).collect()
}
