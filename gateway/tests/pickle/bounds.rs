//! The largest hostile pickles that bounds allow: bounded time and memory.

use std::time::Duration;

use redcall_gateway::pickle::{Bounds, Refused, read};

use crate::{ALLOCATOR, processor_time};

/// A quarter of a gateway's default: a debug build is slow.
const BOUNDS: Bounds = Bounds { bytes: 512 << 10, depth: 64 };

/// Reads and writes a pickle of the bound's size in at most 64 times its memory, and in 1 s: the
/// time of a debug build.
#[track_caller]
fn assert_bounded(pickle: &[u8]) -> Refused {
    let mut refused = None;
    let time = processor_time(|| {
        let json = read(pickle, &BOUNDS).and_then(|document| document.root().json());
        refused = Some(json.unwrap_err());
    });
    let max = ALLOCATOR.max_allocated() >> 20;
    eprintln!("{:?} {time:?}, at most {max} MiB so far", refused.as_ref().unwrap());
    assert!(max < 32, "{max} MiB");
    assert!(time < Duration::from_secs(1), "{time:?}");
    refused.unwrap()
}

/// Repeats `part` up to the bound, and ends the pickle.
fn repeated(start: &[u8], part: &[u8]) -> Vec<u8> {
    let times = (BOUNDS.bytes - start.len() - 3) / part.len();
    [b"\x80\x04", start, &part.repeat(times), b"."].concat()
}

#[test]
fn largest_hostile_pickles_need_bounded_time_and_memory() {
    for (start, part) in [
        (&b""[..], &b"]"[..]),
        (b"", b"("),
        (b"", b"(]"),
        (b"N", b"2"),
        (b"N", b"\x85"),
        (b"N", b"\x94"),
        (b"", b"N\x94"),
        (b"", b")\x94"),
        (b"", b"]\x94a"),
        (b"", b"]N\x94a"),
        (b"}\x94", b"NNs"),
        (b"}\x94", b"h\0NNs"),
        (b"", b"N0"),
        (b"", b"]0"),
        (b"]\x94", b"h\0a"),
        (b"]\x94]\x94", b"h\0h\x01a"),
        (b"", b"\x8a\x0c\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"),
    ] {
        assert_bounded(&repeated(start, part));
    }
}

#[test]
fn text_used_fifty_thousand_times_is_refused() {
    let mut pickle = b"\x80\x04X\0\0\x04\0".to_vec();
    pickle.extend(vec![b'x'; 1 << 18]);
    pickle.extend_from_slice(b"\x940}\x94(");
    pickle.extend(b"h\0N".repeat(50_000));
    pickle.extend_from_slice(b"u.");
    assert_eq!(assert_bounded(&pickle), Refused::TooLarge(BOUNDS.bytes));
}

#[test]
fn whole_number_of_128_kib_is_refused() {
    let mut pickle = b"\x80\x04\x8b\0\0\x02\0".to_vec();
    pickle.extend(vec![1; 1 << 17]);
    pickle.push(b'.');
    assert_eq!(assert_bounded(&pickle), Refused::TooManyDigits);
}

#[test]
fn whole_numbers_have_one_budget_as_keys_and_as_json() {
    // `{NUMBER: NUMBER}`; the name of a key is written twice.
    let pickle = |length: u32| {
        let number = [&b"\x8b"[..], &length.to_le_bytes(), &vec![1; length as usize]].concat();
        [&b"\x80\x02}"[..], &number, &number, b"s."].concat()
    };
    let json = |length| read(&pickle(length), &BOUNDS).and_then(|document| document.root().json());
    assert!(json(8_000).is_ok());
    assert_eq!(json(10_000), Err(Refused::TooManyDigits));
}
