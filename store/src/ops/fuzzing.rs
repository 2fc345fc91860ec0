//! The readers of script replies, for `dev/fuzz/`: a script's reply is external data too.
//!
//! Not a part of the crate's interface. It is here because the readers are private and no other
//! crate may depend on the driver. It is always compiled, so that lints and tests cover the fuzz
//! targets without the flags of a fuzzing build.

use std::collections::BTreeSet;

use redis::{FromRedisValue, Value};
use serde_json::Value as Json;

use super::client::send::served;
use super::scripts;
use super::shared::state;
use super::worker::polls::held;
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::script::Reader;

pub use crate::script::Reading;

/// Readers of plain commands, whose replies are combined.
const OTHERS: &[(&str, Reader)] = &[
    ("held", |value, _| {
        both(value).and_then(|(held, marks)| held::leased(held, marks)).map(Reading::list)
    }),
    ("state", |value, _| state::found(value).map(Reading::of)),
    ("served", |value, _| served::served(value).map(Reading::of)),
];

/// Returns the names of all readers: one per script, and those of plain commands.
#[must_use]
pub fn readers() -> BTreeSet<&'static str> {
    let scripts = scripts().into_iter().map(|script| script.name());
    scripts.chain(OTHERS.iter().map(|(name, _)| *name)).collect()
}

/// Reads `reply` with one of [`readers`], as the reply to `count` requests. Returns `None` if there
/// is no such reader.
///
/// JSON stands for the driver's values: text for a byte string (one byte per character up to
/// U+00FF, others as UTF-8); numbers, lists and booleans for themselves. An object is a map, but
/// with the single key `error`, `status` or `set` it is an error, a status line, or a set.
pub fn read(reader: &str, reply: &Json, count: usize) -> Option<Result<Reading, StoreError>> {
    if let Some(script) = scripts().into_iter().find(|script| script.name() == reader) {
        return Some(script.read(value(reply), count));
    }
    let (_, read) = OTHERS.iter().find(|(name, _)| *name == reader)?;
    Some(read(value(reply), count))
}

/// Splits the replies to both commands of `held`.
fn both(value: Value) -> Result<(held::LeasePairs, held::Histories), StoreError> {
    FromRedisValue::from_redis_value(value).or_store()
}

fn value(json: &Json) -> Value {
    let values = |list: &Json| list.as_array().into_iter().flatten().map(value).collect();
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Boolean(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Int(number),
            (None, number) => Value::Double(number.unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::BulkString(bytes(text)),
        Json::Array(_) => Value::Array(values(json)),
        Json::Object(fields) => match fields.iter().next() {
            Some((key, status)) if key == "status" && fields.len() == 1 => {
                Value::SimpleString(status.as_str().unwrap_or_default().to_owned())
            }
            Some((key, set)) if key == "set" && fields.len() == 1 => Value::Set(values(set)),
            Some((key, error)) if key == "error" && fields.len() == 1 => {
                let text = error.as_str().unwrap_or_default();
                redis::parse_redis_value(format!("-{}\r\n", text.escape_debug()).as_bytes())
                    .unwrap_or(Value::Nil)
            }
            _ => {
                let pair =
                    |(key, field): (&String, &Json)| (value(&Json::from(&**key)), value(field));
                Value::Map(fields.iter().map(pair).collect())
            }
        },
    }
}

fn bytes(text: &str) -> Vec<u8> {
    let latin: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    latin.unwrap_or_else(|| text.as_bytes().to_vec())
}
