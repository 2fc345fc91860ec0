//! Random values written and read again; random bytes that end no process.

use redcall_gateway::pickle::{Writer, read};
use serde_json::value::RawValue;

use crate::BOUNDS;

/// Writes random JSON text in the form that the reader gives it.
fn write_random(random: &mut fastrand::Rng, depth: usize, json: &mut String) {
    match random.u8(0..if depth == 0 { 6 } else { 8 }) {
        0 => json.push_str(["null", "true", "false"][random.usize(0..3)]),
        1 => json.push_str(&random.i32(..).to_string()),
        2 => json.push_str(&(random.i128(..) >> random.u32(0..127)).to_string()),
        3 => {
            json.push(char::from(random.digit(10).max('1') as u8));
            (0..random.usize(0..800)).for_each(|_| json.push(random.digit(10)));
        }
        4 => {
            let float = f64::from_bits(random.u64(..));
            let float = if float.is_finite() { float } else { 1.5 };
            json.push_str(&serde_json::to_string(&float).unwrap());
        }
        5 => write_text(random, json),
        6 => {
            json.push('[');
            for index in 0..random.usize(0..5) {
                json.push_str(if index == 0 { "" } else { "," });
                write_random(random, depth - 1, json);
            }
            json.push(']');
        }
        _ => {
            json.push('{');
            for index in 0..random.usize(0..5) {
                json.push_str(if index == 0 { "" } else { "," });
                json.push_str(&format!("\"{index}"));
                let rest = &mut String::new();
                write_text(random, rest);
                json.push_str(&rest[1..]);
                json.push(':');
                write_random(random, depth - 1, json);
            }
            json.push('}');
        }
    }
}

fn write_text(random: &mut fastrand::Rng, json: &mut String) {
    let length = random.usize(0..6);
    let text: String = (0..length).map(|_| random.char(..)).collect();
    json.push_str(&serde_json::to_string(&text).unwrap());
}

#[test]
fn random_values_read_as_they_were_written() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..3_000 {
        let mut json = String::new();
        write_random(&mut random, 5, &mut json);
        let mut writer = Writer::new();
        writer.json(&RawValue::from_string(json.clone()).unwrap()).unwrap();
        let pickle = writer.finish();
        assert_eq!(read(&pickle, &BOUNDS).unwrap().root().json().unwrap(), json);
    }
}

#[test]
fn random_instructions_are_read_or_refused() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let instructions = b"(0120NNKKK]])}}letdaesu\x85\x86\x87\x88\x89\x94\x94hhqqX\x8c\x8a";
    let mut accepted = 0;
    for _ in 0..200_000 {
        let mut pickle = vec![0x80, 4];
        for _ in 0..random.usize(1..12) {
            pickle.push(random.choice(instructions).copied().unwrap());
            if random.bool() {
                pickle.push(random.u8(0..4));
            }
        }
        pickle.push(b'.');
        let Ok(document) = read(&pickle, &BOUNDS) else { continue };
        if let Ok(json) = document.root().json() {
            RawValue::from_string(json).unwrap();
            accepted += 1;
        }
    }
    assert!(accepted > 100, "only {accepted} were accepted");
}
