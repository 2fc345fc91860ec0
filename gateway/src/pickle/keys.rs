//! The keys of a dict: which are equal in Python, and how JSON names them.

use std::borrow::Cow;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::hash_set::HashSet;

use super::number::{self, Work};
use super::refused::Refused;
use super::value::{Container, Kind, Value};

/// A key, as Python compares it.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key<'a> {
    None,
    /// Also of true and false, which equal 1 and 0.
    Whole(i64),
    Large(&'a [u8]),
    Text(&'a str),
}

/// Leaves one item per key in every dict, as Python does: the first key, the last value.
///
/// # Errors
///
/// If a key has no name in JSON, or two keys have the same one.
pub(super) fn settle(
    containers: &mut [Container],
    pickle: &[u8],
    work: &Work,
) -> Result<(), Refused> {
    for container in containers.iter_mut().filter(|container| container.kind == Kind::Dict) {
        settle_one(&mut container.items, pickle, work)?;
    }
    Ok(())
}

fn settle_one(items: &mut Vec<Value>, pickle: &[u8], work: &Work) -> Result<(), Refused> {
    let mut kept: Vec<Value> = Vec::with_capacity(items.len());
    let mut places = HashMap::new();
    let mut is_text = true;
    for pair in items.chunks_exact(2) {
        is_text &= matches!(pair[0], Value::Text(_));
        match places.entry(key(pair[0], pickle)?) {
            Entry::Vacant(place) => {
                place.insert(kept.len() + 1);
                kept.extend_from_slice(pair);
            }
            Entry::Occupied(place) => kept[*place.get()] = pair[1],
        }
    }
    if !is_text {
        let mut names = HashSet::new();
        for pair in kept.chunks_exact(2) {
            if !names.insert(name(pair[0], pickle, work)?) {
                return Err(Refused::NotJson("two keys of one name"));
            }
        }
    }
    *items = kept;
    Ok(())
}

fn key(value: Value, pickle: &[u8]) -> Result<Key<'_>, Refused> {
    match value {
        Value::None => Ok(Key::None),
        Value::Bool(is_true) => Ok(Key::Whole(is_true.into())),
        Value::Whole(whole) => Ok(Key::Whole(whole)),
        Value::Large(span) => Ok(Key::Large(span.of(pickle))),
        Value::Text(span) => Ok(Key::Text(span.text(pickle))),
        Value::Float(_) | Value::Container(_) | Value::Reference(_) | Value::Member(_) => {
            Err(NO_NAME)
        }
    }
}

/// Returns the name that Python's JSON writer gives to a key.
pub(super) fn name<'a>(
    value: Value,
    pickle: &'a [u8],
    work: &Work,
) -> Result<Cow<'a, str>, Refused> {
    match value {
        Value::None => Ok("null".into()),
        Value::Bool(true) => Ok("true".into()),
        Value::Bool(false) => Ok("false".into()),
        Value::Whole(whole) => Ok(whole.to_string().into()),
        Value::Large(span) => number::to_decimal(span.of(pickle), work).map(Cow::Owned),
        Value::Text(span) => Ok(span.text(pickle).into()),
        Value::Float(_) | Value::Container(_) | Value::Reference(_) | Value::Member(_) => {
            Err(NO_NAME)
        }
    }
}

const NO_NAME: Refused = Refused::NotJson("a key that is not a text, a whole number or a constant");
