//! Rules that are Python's: equal keys, marks, the reach of instructions.

use redcall_gateway::pickle::{Refused, read};

use crate::BOUNDS;

fn json(instructions: &[u8]) -> Result<String, Refused> {
    let pickle = [b"\x80\x04", instructions, b"."].concat();
    read(&pickle, &BOUNDS).and_then(|document| document.root().json())
}

#[test]
fn equal_keys_keep_the_first_name_and_the_last_value() {
    // {"a": 1, "b": 2, "a": 3}
    let pairs = b"}(\x8c\x01aK\x01\x8c\x01bK\x02\x8c\x01aK\x03u";
    assert_eq!(json(pairs).as_deref(), Ok(r#"{"a":3,"b":2}"#));
    // {True: 1, 1: 2}
    assert_eq!(json(b"}(\x88K\x01K\x01K\x02u").as_deref(), Ok(r#"{"true":2}"#));
}

#[test]
fn different_keys_of_one_name_are_refused() {
    let refused = Err(Refused::NotJson("two keys of one name"));
    assert_eq!(json(b"}(K\x01N\x8c\x011Nu"), refused);
    assert_eq!(json(b"}(NN\x8c\x04nullNu"), refused);
}

#[test]
fn key_without_a_name_is_refused() {
    for key in [&b"G?\xf8\0\0\0\0\0\0"[..], b"]", b")"] {
        let refused = json(&[b"}", key, b"Ns"].concat());
        assert!(matches!(refused, Err(Refused::NotJson(_))), "{refused:?}");
    }
}

#[test]
fn values_below_a_mark_cannot_be_taken() {
    for instructions in [&b"N(0\x85"[..], b"]N(a", b"]N(N\x86", b"N(\x94t"] {
        let refused = json(instructions);
        let is_expected = matches!(refused, Err(Refused::Malformed(_)));
        assert!(is_expected || instructions == b"N(0\x85", "{refused:?}");
    }
    assert_eq!(json(b"N(0\x85").as_deref(), Ok("[null]")); // POP takes an empty mark
    assert_eq!(json(b"N(NN1\x85").as_deref(), Ok("[null]"));
}

#[test]
fn tuple_cannot_be_changed() {
    assert!(matches!(json(b")Na"), Err(Refused::Malformed(_))));
    assert!(matches!(json(b")(NNu"), Err(Refused::Malformed(_))));
    assert!(matches!(json(b"}Na"), Err(Refused::Malformed(_))));
}

#[test]
fn bytes_after_the_end_are_refused() {
    assert_eq!(json(b"N.N"), Err(Refused::Malformed("bytes after the end")));
}

#[test]
fn remembered_list_that_grows_later_is_the_same_list() {
    // a = []; b = [a, a]; a.append(1)
    assert_eq!(json(b"]\x940]h\0ah\0a\x940h\0K\x01a0h\x01").as_deref(), Ok("[[1],[1]]"));
}
