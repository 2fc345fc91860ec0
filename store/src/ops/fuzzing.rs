//! The readers of script replies, for `dev/fuzz/`: a script's reply is external data too.
//!
//! Not a part of the crate's interface. It is here because the readers are private and no other
//! crate may depend on the driver. It is always compiled, so that lints and tests cover the fuzz
//! targets without the flags of a fuzzing build.

use std::fmt::Debug;

use redis::{FromRedisValue, Value};
use serde_json::Value as Json;

use super::admin::{letters, pause, revive};
use super::client::answers::{settle, trim};
use super::client::events::{group, topic as events};
use super::client::send::{cancel, enqueue, place, served};
use super::shared::rights;
use super::worker::polls::{held, poll, poll_fast, probe};
use super::worker::run::{claim, frame, seen, start, state};
use super::worker::upkeep::{expire, heartbeat, promote, release, rotation, tally, tick, times};
use crate::error::StoreError;

/// The names of all readers: one per script, and `held` and `served` for plain commands whose
/// replies are combined.
pub const READERS: &[&str] = &[
    "cancel",
    "claim",
    "poll",
    "enqueue",
    "events",
    "expire",
    "frame",
    "group",
    "heartbeat",
    "held",
    "letters",
    "pause",
    "place",
    "poll_fast",
    "probe",
    "promote",
    "release",
    "revive",
    "rights",
    "rotation",
    "seen",
    "state",
    "served",
    "settle",
    "start",
    "tally",
    "tick",
    "times",
    "trim",
    "unique",
];

/// The result of reading a reply.
#[derive(Debug)]
pub struct Reading {
    /// Its `Debug` text.
    pub shown: String,
    /// The number of results, requests or letters; `None` if it is not a list.
    pub count: Option<usize>,
}

/// Reads `reply` with one of [`READERS`], as the reply to `asked` requests. Returns `None` if there
/// is no such reader.
///
/// JSON stands for the driver's values: text for a byte string (one byte per character up to
/// U+00FF, others as UTF-8); numbers, lists and booleans for themselves. An object is a map, but
/// with the single key `error`, `status` or `set` it is an error, a status line, or a set.
pub fn read(reader: &str, reply: &Json, asked: usize) -> Option<Result<Reading, StoreError>> {
    let value = value(reply);
    let one = |shown: Box<dyn Debug>| Reading { shown: format!("{shown:?}"), count: None };
    Some(match reader {
        "cancel" => cancel::found(value, asked).map(|(all, ended)| Reading {
            count: Some(all.len()),
            shown: format!("{all:?} {ended:?}"),
        }),
        "claim" => claim::claimed(value).map(|claimed| one(Box::new(claimed))),
        "poll" => poll::reply(value, asked)
            .map(|reply| Reading { count: Some(reply.settled.len()), shown: format!("{reply:?}") }),
        "enqueue" => enqueue::enqueued(value).map(|enqueued| one(Box::new(enqueued))),
        "events" => events::read_topic(value).map(|look| list(&look.entries)),
        "expire" => expire::expired(value).map(|expired| one(Box::new(expired))),
        "frame" => frame::pushed(value).map(|pushed| one(Box::new(pushed))),
        "group" => group::reply(value).map(|share| one(Box::new(share))),
        "heartbeat" => heartbeat::reply(value).map(|heard| one(Box::new(heard))),
        "held" => both(value).and_then(|(held, marks)| Ok(list(&held::leased(held, marks)?))),
        "letters" => letters::batch(value).map(|batch| list(&batch.letters)),
        "pause" => pause::changed(value).map(|changed| one(Box::new(changed))),
        "place" => place::placed(value).map(|placed| one(Box::new(placed))),
        "poll_fast" => poll_fast::reply(value, asked).map(|reply| match reply {
            Some(said) => Reading { count: Some(said.settled.len()), shown: format!("{said:?}") },
            None => one(Box::new(reply)),
        }),
        "probe" => probe::put(value).map(|()| one(Box::new(()))),
        "promote" => promote::promoted(value).map(|promoted| one(Box::new(promoted))),
        "release" => release::released(value).map(|released| one(Box::new(released))),
        "revive" => revive::revived(value, asked).map(|all| list(&all)),
        "rotation" => rotation::faults(value).map(|faults| list(&faults)),
        "rights" => rights::refused(value).map(|places| list(&places)),
        "seen" => seen::remembered(value).map(|said| one(Box::new(said))),
        "state" => state::found(value).map(|found| one(Box::new(found))),
        "served" => served::served(value).map(|served| one(Box::new(served))),
        "settle" => settle::settled(value).map(|settled| one(Box::new(settled))),
        "start" => start::noted(value).map(|noted| one(Box::new(noted))),
        "tally" => tally::tally(value).map(|tally| one(Box::new(tally))),
        "tick" => tick::ticked(value).map(|ticked| one(Box::new(ticked))),
        "times" => times::ahead(value).map(|ahead| list(&ahead)),
        "trim" => trim::first(value).map(|first| one(Box::new(first))),
        "unique" => claim::first(value).map(|first| one(Box::new(first))),
        _ => return None,
    })
}

fn list<T: Debug>(all: &[T]) -> Reading {
    Reading { shown: format!("{all:?}"), count: Some(all.len()) }
}

/// Splits the replies to both commands of `held`.
fn both(value: Value) -> Result<(held::LeasePairs, held::Histories), StoreError> {
    Ok(FromRedisValue::from_redis_value(value).map_err(redis::RedisError::from)?)
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
