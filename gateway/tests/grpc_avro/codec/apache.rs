//! The codec against the crate `apache-avro`.

use apache_avro::Schema as Apache;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use redcall_gateway::grpc_avro::avro::read;

use super::cases::{Case, Unions, case, text};
use super::{BOUNDS, random, schema, shown, written};

fn apache(case: &Case) -> Apache {
    Apache::parse_str(&case.schema).unwrap_or_else(|error| panic!("{error}: {}", case.schema))
}

fn written_by(schema: &Apache, case: &Case) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(case.value.clone()).unwrap()
}

fn read_by(schema: &Apache, datum: &mut &[u8]) -> Value {
    GenericDatumReader::builder(schema).build().unwrap().read_value(datum).unwrap()
}

#[test]
fn plain_values_are_the_same_bytes_and_the_same_json() {
    let mut rng = random();
    for _ in 0..2000 {
        let case = case(&mut rng, Unions::Plain);
        let (ours, theirs) = (schema(&case), apache(&case));
        let datum = written(&ours, &case.json);
        assert_eq!(datum, written_by(&theirs, &case), "{}", case.schema);
        assert_eq!(shown(&ours, &datum), case.json, "{}", case.schema);
        let read = read_by(&theirs, &mut &datum[..]);
        assert_eq!(read, case.value, "{}", case.schema);
    }
}

/// Another branch may be written than was read, with the same JSON.
#[test]
fn branches_of_ambiguous_unions_read_as_the_same_json() {
    let mut rng = random();
    for _ in 0..2000 {
        let case = case(&mut rng, Unions::Ambiguous);
        let (ours, theirs) = (schema(&case), apache(&case));
        let datum = written_by(&theirs, &case);
        assert_eq!(shown(&ours, &datum), case.json, "{}", case.schema);
        let again = written(&ours, &case.json);
        assert_eq!(shown(&ours, &again), case.json, "{}", case.schema);
        let read = read_by(&theirs, &mut &again[..]);
        assert_eq!(json_of(&read), case.json, "{}", case.schema);
    }
}

/// The other way round does not hold: `apache-avro` accepts datums that end early.
#[test]
fn changed_datums_that_are_accepted_read_as_apache_avro_reads_them() {
    let mut rng = random();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..4000 {
        let case = case(&mut rng, Unions::Ambiguous);
        let (ours, theirs) = (schema(&case), apache(&case));
        let mut datum = written_by(&theirs, &case);
        for _ in 0..rng.usize(1..4) {
            change(&mut rng, &mut datum);
        }
        match read(&ours, &datum, BOUNDS) {
            Ok(json) => {
                accepted += 1;
                let mut rest = &datum[..];
                let read = read_by(&theirs, &mut rest);
                assert!(rest.is_empty() && read.validate(&theirs), "{}", case.schema);
                let parsed = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
                assert_eq!(parsed(json.get()), parsed(&json_of(&read)), "{}", case.schema);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 200 && refused > 200, "accepted {accepted}, refused {refused}");
}

fn change(rng: &mut fastrand::Rng, datum: &mut Vec<u8>) {
    let at = rng.usize(..=datum.len());
    match rng.u8(..4) {
        0 if at < datum.len() => datum[at] ^= 1 << rng.u8(..8),
        1 if at < datum.len() => datum[at] = rng.u8(..),
        2 if at < datum.len() => drop(datum.remove(at)),
        _ => datum.insert(at, rng.u8(..8)),
    }
}

/// The JSON of a value, as the codec's documentation has it.
fn json_of(value: &Value) -> String {
    let latin =
        |bytes: &[u8]| text(&bytes.iter().map(|byte| char::from(*byte)).collect::<String>());
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::Float(value) => serde_json::to_string(value).unwrap(),
        Value::Double(value) => serde_json::to_string(value).unwrap(),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => latin(bytes),
        Value::String(value) | Value::Enum(_, value) => text(value),
        Value::Union(_, value) => json_of(value),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(json_of).collect::<Vec<_>>().join(","))
        }
        Value::Map(values) => object(values.iter()),
        Value::Record(fields) => object(fields.iter().map(|(name, value)| (name, value))),
        other => unreachable!("no logical types here: {other:?}"),
    }
}

fn object<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let members = members.map(|(name, value)| format!("{}:{}", text(name), json_of(value)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
