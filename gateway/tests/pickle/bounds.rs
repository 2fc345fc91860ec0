//! The largest hostile pickles that the default bounds allow: bounded time and memory.

use std::time::Duration;

use redcall_gateway::pickle::{Refused, read};

use crate::{ALLOCATOR, BOUNDS, processor_time};

/// Reads and writes a pickle of `message` bytes in at most 128 MiB and 2 s, a debug build's time.
#[track_caller]
fn assert_bounded(pickle: &[u8]) -> Refused {
    let mut refused = None;
    let time = processor_time(|| {
        let json = read(pickle, &BOUNDS).and_then(|document| document.root().json());
        refused = Some(json.unwrap_err());
    });
    let most = ALLOCATOR.max_allocated() >> 20;
    eprintln!("{:?} {time:?}, at most {most} MiB so far", refused.as_ref().unwrap());
    assert!(most < 128, "{most} MiB");
    assert!(time < Duration::from_secs(2), "{time:?}");
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
fn text_used_a_hundred_thousand_times_is_refused() {
    let mut pickle = b"\x80\x04X\0\0\x10\0".to_vec();
    pickle.extend(vec![b'x'; 1 << 20]);
    pickle.extend_from_slice(b"\x940}\x94(");
    pickle.extend(b"h\0N".repeat(100_000));
    pickle.extend_from_slice(b"u.");
    assert_eq!(assert_bounded(&pickle), Refused::TooLarge(BOUNDS.bytes));
}

#[test]
fn whole_number_of_a_megabyte_is_refused() {
    let mut pickle = b"\x80\x04\x8b\0\0\x08\0".to_vec();
    pickle.extend(vec![1; 1 << 19]);
    pickle.push(b'.');
    assert_eq!(assert_bounded(&pickle), Refused::TooManyDigits);
}
