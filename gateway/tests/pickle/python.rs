//! Random values between Python's pickle module and ours, both ways.

use std::io::Write as _;
use std::process::{Command, Stdio};

use redcall_gateway::pickle::{Writer, read};
use redcall_testkit::unhex;
use serde_json::value::RawValue;

use crate::BOUNDS;

/// Prints lines of a pickle in hex and of its value as JSON, in all protocols.
const WRITES: &str = r#"
import json, pickle, random, sys
seed = int(sys.argv[1])
r = random.Random(seed)

def text():
    kinds = [(32, 127), (0, 0xD800), (0xE000, 0x110000)]
    length = r.choice([0, 1, 3, 300])
    return "".join(chr(r.randrange(*r.choice(kinds))) for _ in range(length))

shared = [text(), [1, 2], {"a": ()}]

def value(depth):
    kind = r.randrange(7 if depth == 0 else 11)
    if kind == 0: return r.choice([None, True, False])
    if kind == 1: return r.randrange(-300, 70000)
    if kind == 2: return r.choice([-1, 1]) * r.getrandbits(r.choice([31, 32, 63, 64, 2040, 9000]))
    if kind == 3: return r.choice([-0.0, 1e-7, 1e22, r.random(), r.uniform(-1e300, 1e300), 2.0])
    if kind in (4, 5): return text()
    if kind == 6: return r.choice(shared)
    if kind == 7: return tuple(value(depth - 1) for _ in range(r.randrange(6)))
    if kind == 8: return [value(depth - 1) for _ in range(r.randrange(6))]
    # Python writes such lists in several parts.
    if kind == 9: return list(range(r.choice([999, 1000, 1001, 2500])))
    return {key(): value(depth - 1) for _ in range(r.randrange(6))}

def key():
    return r.choice([None, True, r.randrange(2, 999), 2**70, "k" + text()])

for number in range(200):
    made = value(4)
    print(pickle.dumps(made, 2 + number % 4).hex(), json.dumps(made), sep="\t")
"#;

/// Reads lines of a pickle in hex and of its value as JSON.
const READS: &str = r#"
import json, pickle, sys
count = 0
for line in sys.stdin:
    made, value = line.rstrip("\n").split("\t")
    assert repr(pickle.loads(bytes.fromhex(made))) == repr(json.loads(value)), value
    count += 1
print(count)
"#;

#[test]
fn values_pass_unchanged_between_python_and_us() {
    // `cargo xtask test` provides it.
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else { return };
    let seed = fastrand::u32(..).to_string();
    eprintln!("seed {seed}");
    let output = Command::new(&python).args(["-c", WRITES, &seed]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (pickle, json) = line.split_once('\t').unwrap();
        let pickle = unhex(pickle);
        let found = read(&pickle, &BOUNDS).unwrap().root().json().unwrap();
        // Without spaces and with our forms of texts and floats.
        let mut writer = Writer::new();
        writer.json(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
        let written = writer.finish();
        assert_eq!(found, read(&written, &BOUNDS).unwrap().root().json().unwrap());
        let written: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{written}\t{json}\n"));
    }
    let mut reads = Command::new(&python)
        .args(["-c", READS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reads.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = reads.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "200");
}
