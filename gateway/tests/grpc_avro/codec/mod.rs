//! The Avro codec against `apache-avro` and Python's `fastavro`, on random schemas and values.
//!
//! Each test prints its seed, and takes it from `SEED`.

mod apache;
mod cases;
mod fastavro;

use redcall_gateway::grpc_avro::avro::{ReadBounds, Schema, Unknown, read, write};
use serde_json::value::RawValue;

use self::cases::Case;

const BOUNDS: ReadBounds = ReadBounds { message: 1 << 20, json: 1 << 20 };

fn random() -> fastrand::Rng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

fn schema(case: &Case) -> Schema {
    Schema::parse(&case.schema, 64).unwrap_or_else(|error| panic!("{error}: {}", case.schema))
}

fn shown(schema: &Schema, datum: &[u8]) -> String {
    read(schema, datum, BOUNDS).unwrap().get().to_owned()
}

fn written(schema: &Schema, json: &str) -> Vec<u8> {
    let json: &RawValue = serde_json::from_str(json).unwrap();
    write(schema, json, Unknown::Refused, 1 << 20).unwrap()
}
