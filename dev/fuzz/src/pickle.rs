//! Python pickles, as a gateway reads them from foreign callers.
//!
//! - The JSON text of an accepted pickle is valid, and within the bounds.
//! - A pickle that our writer makes of that text reads as the same text.
//! - A pickle that is accepted without objects is accepted, and reads the same, with them.
//! - Decompression stops at its limit.

use redcall_gateway::pickle::{Bounds, Classes, Writer, inflate, read, read_objects};
use serde_json::value::RawValue;

/// Smaller than in earnest, so that inputs of a few hundred bytes meet them.
const BOUNDS: Bounds = Bounds { bytes: 1500, depth: 6 };

/// Classes as a protocol has them.
const CLASSES: Classes =
    Classes { object: ("a.b", "Message"), member: ("a.b", "Type"), highest: 5 };

/// Reads a pickle, both bare and compressed.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(raw: &[u8]) {
    check_pickle(raw);
    if let Ok(inflated) = inflate(raw, BOUNDS.bytes) {
        assert!(inflated.len() <= BOUNDS.bytes);
        check_pickle(&inflated);
    }
}

fn check_pickle(pickle: &[u8]) {
    let with_objects = read_objects(pickle, &BOUNDS, &CLASSES);
    let Ok(document) = read(pickle, &BOUNDS) else {
        if let Ok(document) = with_objects {
            let state = document.root().state();
            let _ = state.map(|state| (state.entries(), state.json()));
        }
        return;
    };
    let json = document.root().json();
    assert_eq!(with_objects.map(|document| document.root().json()), Ok(json.clone()));
    let _ = document.call();
    let Ok(json) = json else { return };
    assert!(json.len() <= BOUNDS.bytes);
    let json = RawValue::from_string(json).unwrap_or_else(|error| panic!("{error}"));

    let mut writer = Writer::new();
    writer.json(&json).unwrap_or_else(|refused| panic!("{json}: {refused}"));
    let written = writer.finish();
    // The form without memo may be larger than the one that was read.
    let bounds = Bounds { bytes: 1 << 20, ..BOUNDS };
    let again = read(&written, &bounds).unwrap_or_else(|refused| panic!("{json}: {refused}"));
    assert_eq!(again.root().json().as_deref(), Ok(json.get()));
}
