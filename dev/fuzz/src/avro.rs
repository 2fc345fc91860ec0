//! Avro datums and the JSON of their values, as the gateway reads them: the first line is a schema,
//! the rest a datum or JSON.
//!
//! - A schema that is read nests at most as deep as it may.
//! - A datum that is read is valid JSON within its bound, and so is the datum of that JSON.
//! - JSON that a datum is read as can be written, and the written datum reads as the same JSON.
//! - JSON that can be written reads as JSON that writes the same datum.

use redcall_gateway::grpc_avro::avro::{ReadBounds, Schema, Unknown, read, write};
use serde_json::value::RawValue;

/// Smaller than in earnest, so that inputs of a few hundred bytes meet them.
const BOUNDS: ReadBounds = ReadBounds { message: 600, json: 4000 };

/// A schema with every type, for inputs without one.
const ALL: &str = r#"{"type":"record","name":"r","fields":[
    {"name":"a","type":["null","boolean","long","string",{"type":"array","items":"int"}]},
    {"name":"b","type":{"type":"map","values":{"type":"fixed","name":"f","size":2}}},
    {"name":"c","type":{"type":"enum","name":"e","symbols":["A","B"]},"default":"B"},
    {"name":"d","type":["bytes","float","double"],"default":""},
    {"name":"e","type":{"type":"array","items":["null","r2x",{"type":"array","items":"null"}]}}]}"#;

/// Reads and writes `input`.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(input: &[u8]) {
    let all = ALL.replace("\"r2x\"", r#"{"type":"record","name":"r2","fields":[]}"#);
    let all = Schema::parse(&all, 8).unwrap_or_else(|error| panic!("{error}"));
    both_ways(&all, input);
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let text = parts.next().and_then(|line| str::from_utf8(line).ok()).unwrap_or_default();
    if let Ok(schema) = Schema::parse(text, 8) {
        both_ways(&schema, parts.next().unwrap_or_default());
    }
}

fn both_ways(schema: &Schema, input: &[u8]) {
    if let Ok(json) = read(schema, input, BOUNDS) {
        assert!(json.get().len() <= BOUNDS.json, "{json}");
        // Another branch of a union may be larger.
        let datum = written(schema, &json).unwrap_or_else(|| panic!("{json} is not written"));
        let again = read(schema, &datum, ReadBounds { message: datum.len(), ..BOUNDS });
        // Items without bytes count against the message.
        if let Ok(again) = again {
            assert_eq!(again.get(), json.get());
        }
    }
    if let Ok(json) = serde_json::from_slice::<&RawValue>(input)
        && let Some(datum) = written(schema, json)
    {
        let bounds = ReadBounds { message: 1 << 16, json: 1 << 20 };
        let again = read(schema, &datum, bounds);
        let again = again.unwrap_or_else(|error| panic!("{json} as {datum:?}: {error}"));
        assert_eq!(written(schema, &again).as_deref(), Some(&datum[..]), "{json}");
    }
}

fn written(schema: &Schema, json: &RawValue) -> Option<Vec<u8>> {
    write(schema, json, Unknown::Refused, 1 << 16).ok()
}
