//! The codec against Python's `fastavro`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::cases::{Unions, case};
use super::{random, schema, written};
use crate::python::python;

/// Reads a case per line; ends with 1 and its line if one does not agree.
const AGREES: &str = r#"
import io, json, struct, sys
import fastavro

def plain(value):
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value

def same(value, shown):
    if isinstance(value, float) and isinstance(shown, float):
        # Floats are shown by their own digits, fewer than those of a double.
        single = lambda number: abs(number) < 3.5e38 and struct.pack("<f", number)
        return value == shown or single(value) == single(shown) is not False
    if type(value) is not type(shown):
        return False
    if isinstance(value, dict):
        return list(value) == list(shown) and all(same(value[key], shown[key]) for key in value)
    if isinstance(value, list):
        return len(value) == len(shown) and all(map(same, value, shown))
    return value == shown

def has_union(schema):
    if not isinstance(schema, dict):
        return isinstance(schema, list)
    inner = [field["type"] for field in schema.get("fields", [])]
    return any(map(has_union, inner + [schema.get(key) for key in ("type", "items", "values")]))

count = 0
for line in sys.stdin:
    case = json.loads(line)
    schema = fastavro.parse_schema(json.loads(case["schema"]))
    datum = bytes(case["datum"])
    stream = io.BytesIO(datum)
    value = fastavro.schemaless_reader(stream, schema)
    if stream.read() or not same(plain(value), json.loads(case["json"])):
        sys.exit(f"read {value}: {line}")
    again = io.BytesIO()
    fastavro.schemaless_writer(again, schema, value)
    # It takes empty bytes as an empty array, if a union has both.
    if again.getvalue() != datum and not has_union(json.loads(case["schema"])):
        sys.exit(f"wrote {list(again.getvalue())}: {line}")
    count += 1
print(count)
"#;

#[test]
fn fastavro_reads_and_writes_the_same_datums() {
    let Some(python) = python() else { return };
    let mut rng = random();
    let mut lines = String::new();
    for _ in 0..1500 {
        let case = case(&mut rng, Unions::Plain);
        let datum = written(&schema(&case), &case.json);
        let line = json!({"schema": case.schema, "json": case.json, "datum": datum});
        lines.push_str(&format!("{line}\n"));
    }
    let mut child = Command::new(python)
        .args(["-c", AGREES])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A test that failed before its last line has closed its end.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"1500\n");
}
