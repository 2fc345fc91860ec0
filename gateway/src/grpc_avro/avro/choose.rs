//! The branch of a union for a value: by the value's type, in the order of the branches.

use crate::grpc_avro::avro::json::{self, Kind, kind};
use crate::grpc_avro::avro::schema::Schema;

/// How well a value fits a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is of this type.
    Exact,
    /// It can be written as this type, if no branch fits exactly: a whole number as a double, a
    /// text as bytes.
    Loose,
    /// An array or object: only writing it shows.
    Unknown,
    /// It is not of this type.
    No,
}

/// Returns how well a value fits a schema.
pub(crate) fn fit(schema: &Schema, value: &str) -> Fit {
    let exact = |fits: bool| if fits { Fit::Exact } else { Fit::No };
    match (schema, kind(value)) {
        (Schema::Null, Kind::Null) | (Schema::Boolean, Kind::Boolean) => Fit::Exact,
        (Schema::String, Kind::Text) => Fit::Exact,
        (Schema::Int, Kind::Number) => exact(value.parse::<i32>().is_ok()),
        (Schema::Long, Kind::Number) => exact(value.parse::<i64>().is_ok()),
        (Schema::Float, Kind::Number) => float(value),
        (Schema::Double, Kind::Number) => match double(value) {
            Some(_) if is_whole(value) => Fit::Loose,
            Some(_) => Fit::Exact,
            None => Fit::No,
        },
        (Schema::Enum(symbols), Kind::Text) => exact(symbol(symbols, value).is_some()),
        (Schema::Bytes, Kind::Text) => match bytes(value) {
            Some(_) => Fit::Loose,
            None => Fit::No,
        },
        (Schema::Fixed(size), Kind::Text) => match bytes(value) {
            Some(bytes) if bytes.len() == *size => Fit::Loose,
            _ => Fit::No,
        },
        (Schema::Array(_), Kind::Array) => Fit::Unknown,
        (Schema::Record(_) | Schema::Map(_), Kind::Object) => Fit::Unknown,
        _ => Fit::No,
    }
}

fn is_whole(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

/// A float fits exactly if its own digits are those of the value: `0.1`, not `0.12345678901`.
fn float(number: &str) -> Fit {
    let Some(float) = single(number) else { return Fit::No };
    let digits = serde_json::to_string(&float).ok().and_then(|digits| digits.parse::<f64>().ok());
    if !is_whole(number) && digits == double(number) { Fit::Exact } else { Fit::Loose }
}

/// Returns a number as a double; `None` if it is too large.
pub(crate) fn double(number: &str) -> Option<f64> {
    number.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// Returns a number as a float; `None` if it is too large.
pub(crate) fn single(number: &str) -> Option<f32> {
    number.parse::<f32>().ok().filter(|number| number.is_finite())
}

/// Returns the position of a symbol.
pub(crate) fn symbol(symbols: &[String], value: &str) -> Option<usize> {
    let text = json::text(value)?;
    symbols.iter().position(|symbol| *symbol == text)
}

/// Returns the bytes that a text stands for, one per character; `None` if a character is larger.
pub(crate) fn bytes(value: &str) -> Option<Vec<u8>> {
    json::text(value)?.chars().map(|character| u8::try_from(character).ok()).collect()
}
