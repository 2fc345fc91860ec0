//! JSON text as a datum.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::value::RawValue;

use crate::grpc_avro::avro::choose::{Fit, bytes, double, fit, single, symbol};
use crate::grpc_avro::avro::json::{self, Kind, elements, kind, members};
use crate::grpc_avro::avro::schema::{Field, Schema};

/// How often a value may be read while its branches are searched, on the average over its bytes.
/// Without a union, a value is read at most once per level.
const READINGS: usize = 256;
/// Added to it, for small values.
const READINGS_BASE: usize = 64 << 10;

/// The treatment of members that a record does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The value is refused.
    Refused,
    /// They are not written.
    Ignored,
}

/// A value that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", place(.path))]
pub struct WriteError {
    /// The names of the fields around the fault, the outermost first.
    path: Vec<String>,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("expected {expected}, found {found}")]
    Kind { expected: &'static str, found: &'static str },
    #[error("the number does not fit into {0}")]
    Number(&'static str),
    #[error("the text is not one of the enum's symbols")]
    Symbol,
    #[error("the text has a character above U+00FF, which bytes cannot hold")]
    Bytes,
    #[error("the text has {found} characters, and the fixed has {expected} bytes")]
    Fixed { expected: usize, found: usize },
    #[error("the text has half of a surrogate pair")]
    Surrogate,
    #[error("no branch of the union takes {0}")]
    Branch(&'static str),
    #[error("the field is missing and has no default")]
    Missing,
    #[error("the record has no such field")]
    Unknown,
    #[error("the map has this key twice")]
    Twice,
    #[error("the datum would have more than {0} bytes")]
    TooLarge(usize),
    #[error("too many branches of unions were tried")]
    Readings,
}

fn place(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) }
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self { path: Vec::new(), fault }
    }
}

impl WriteError {
    /// Returns `true` if the datum would be over its bound.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        matches!(self.fault, Fault::TooLarge(_))
    }

    /// Returns `true` if no other branch of a union may be tried.
    const fn is_final(&self) -> bool {
        matches!(self.fault, Fault::TooLarge(_) | Fault::Readings)
    }

    fn in_field(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

/// Returns a value as a datum of at most `limit` bytes.
///
/// A field that is missing takes its default. The branch of a union is the first one with the
/// value's type: whole numbers are rather `int` and `long` than `float` and `double`, texts rather
/// `string` and `enum` than `bytes` and `fixed`.
///
/// # Errors
///
/// If the value does not fit the schema, or its datum is larger than `limit`.
pub fn write(
    schema: &Schema,
    value: &RawValue,
    unknown: Unknown,
    limit: usize,
) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::new(value.get(), unknown, limit);
    writer.value(schema, value.get())?;
    Ok(writer.out)
}

/// Returns the datum of a field's default. Of a union, the first branch is preferred: it was the
/// only one before Avro 1.12.
pub(crate) fn default_of(schema: &Schema, value: &str) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::new(value, Unknown::Refused, usize::MAX);
    if let Schema::Union(branches) = schema
        && let Some(first) = branches.first()
    {
        writer.long(0);
        if writer.value(first, value).is_ok() {
            return Ok(writer.out);
        }
        writer = Writer::new(value, Unknown::Refused, usize::MAX);
    }
    writer.value(schema, value)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    unknown: Unknown,
    limit: usize,
    /// `true` while only exact fits are tried.
    is_exact: bool,
    /// How many more bytes of JSON may be read.
    readings: usize,
}

impl Writer {
    fn new(value: &str, unknown: Unknown, limit: usize) -> Self {
        let readings = value.len().saturating_mul(READINGS).saturating_add(READINGS_BASE);
        Self { out: Vec::new(), unknown, limit, is_exact: false, readings }
    }

    /// Recurses as deep as the schema nests, which its parser bounds.
    fn value(&mut self, schema: &Schema, value: &str) -> Result<(), WriteError> {
        self.readings = self.readings.checked_sub(value.len()).ok_or(Fault::Readings)?;
        let expected = || Fault::Kind { expected: schema.name(), found: kind(value).name() };
        if self.is_exact && fit(schema, value) == Fit::Loose {
            return Err(expected().into());
        }
        match (schema, kind(value)) {
            (Schema::Null, Kind::Null) => {}
            (Schema::Boolean, Kind::Boolean) => self.out.push(u8::from(value == "true")),
            (Schema::Int, Kind::Number) => {
                self.long(value.parse::<i32>().map_err(|_| Fault::Number("int"))?.into());
            }
            (Schema::Long, Kind::Number) => {
                self.long(value.parse().map_err(|_| Fault::Number("long"))?);
            }
            (Schema::Float, Kind::Number) => {
                let number = single(value).ok_or(Fault::Number("float"))?;
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            (Schema::Double, Kind::Number) => {
                let number = double(value).ok_or(Fault::Number("double"))?;
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            (Schema::String, Kind::Text) => {
                let text = json::text(value).ok_or(Fault::Surrogate)?;
                self.bytes(text.as_bytes());
            }
            (Schema::Bytes, Kind::Text) => self.bytes(&bytes(value).ok_or(Fault::Bytes)?),
            (Schema::Fixed(size), Kind::Text) => {
                let bytes = bytes(value).ok_or(Fault::Bytes)?;
                if bytes.len() != *size {
                    return Err(Fault::Fixed { expected: *size, found: bytes.len() }.into());
                }
                self.out.extend_from_slice(&bytes);
            }
            (Schema::Enum(symbols), Kind::Text) => {
                self.position(symbol(symbols, value).ok_or(Fault::Symbol)?);
            }
            (Schema::Record(fields), Kind::Object) => self.record(fields, value)?,
            (Schema::Array(items), Kind::Array) => self.array(items, value)?,
            (Schema::Map(values), Kind::Object) => self.map(values, value)?,
            (Schema::Union(branches), _) => self.union(branches, value)?,
            _ => return Err(expected().into()),
        }
        if self.out.len() <= self.limit { Ok(()) } else { Err(Fault::TooLarge(self.limit).into()) }
    }

    fn record(&mut self, fields: &[Field], value: &str) -> Result<(), WriteError> {
        // One pass over the members, whose number is not bounded by that of the fields.
        let mut found: Vec<Option<Range<usize>>> = vec![None; fields.len()];
        for (index, (name, place)) in members(value).enumerate() {
            let name = json::text(name).ok_or(Fault::Surrogate)?;
            // Members in the order of the fields are found at once.
            let guess = fields.get(index).filter(|field| field.name == name).map(|_| index);
            let position = guess.or_else(|| fields.iter().position(|field| field.name == name));
            match position {
                Some(position) => found[position] = Some(place),
                None if self.unknown == Unknown::Ignored => {}
                None => return Err(WriteError::from(Fault::Unknown).in_field(&name)),
            }
        }
        for (field, place) in fields.iter().zip(found) {
            let result = match (place.and_then(|place| value.get(place)), &field.default) {
                (Some(value), _) => self.value(&field.schema, value),
                (None, Some(default)) => self.default(default),
                (None, None) => Err(Fault::Missing.into()),
            };
            result.map_err(|error| error.in_field(&field.name))?;
        }
        Ok(())
    }

    fn default(&mut self, datum: &[u8]) -> Result<(), WriteError> {
        self.readings = self.readings.checked_sub(datum.len()).ok_or(Fault::Readings)?;
        if datum.len() > self.limit.saturating_sub(self.out.len()) {
            return Err(Fault::TooLarge(self.limit).into());
        }
        self.out.extend_from_slice(datum);
        Ok(())
    }

    fn array(&mut self, items: &Schema, value: &str) -> Result<(), WriteError> {
        let count = elements(value).count();
        if count > 0 {
            self.position(count);
            for (index, item) in elements(value).enumerate() {
                self.value(items, item).map_err(|error| error.in_field(&index.to_string()))?;
            }
        }
        self.position(0);
        Ok(())
    }

    fn map(&mut self, values: &Schema, value: &str) -> Result<(), WriteError> {
        let count = members(value).count();
        if count > 0 {
            self.position(count);
            let mut names = HashSet::with_capacity(count);
            for (name, place) in members(value) {
                let name = json::text(name).ok_or(Fault::Surrogate)?;
                if !names.insert(name.clone()) {
                    return Err(WriteError::from(Fault::Twice).in_field(&name));
                }
                self.bytes(name.as_bytes());
                let value = value.get(place).unwrap_or_default();
                self.value(values, value).map_err(|error| error.in_field(&name))?;
            }
        }
        self.position(0);
        Ok(())
    }

    fn union(&mut self, branches: &[Schema], value: &str) -> Result<(), WriteError> {
        let fits: Vec<Fit> = branches.iter().map(|branch| fit(branch, value)).collect();
        let of = |wanted| fits.iter().position(|fit| *fit == wanted);
        let loose = || of(Fit::Loose).filter(|_| !self.is_exact);
        if let Some(position) = of(Fit::Exact).or_else(loose) {
            self.position(position);
            return self.value(&branches[position], value);
        }
        let tried: Vec<usize> =
            (0..branches.len()).filter(|position| fits[*position] == Fit::Unknown).collect();
        let outer = self.is_exact;
        let mut result = Err(WriteError::from(Fault::Branch(kind(value).name())));
        // Several arrays or objects are distinguished by the exact fit of their parts, if possible.
        let passes: &[bool] = if tried.len() > 1 && !outer { &[true, false] } else { &[outer] };
        'tries: for is_exact in passes {
            self.is_exact = *is_exact;
            for position in &tried {
                let start = self.out.len();
                self.position(*position);
                result = self.value(&branches[*position], value);
                match &result {
                    Err(error) if !error.is_final() => self.out.truncate(start),
                    _ => break 'tries,
                }
            }
        }
        self.is_exact = outer;
        result
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.position(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// Writes a length, a branch or a symbol.
    fn position(&mut self, position: usize) {
        // No slice is longer than `i64::MAX`.
        self.long(i64::try_from(position).unwrap_or(i64::MAX));
    }

    fn long(&mut self, number: i64) {
        let mut bits = ((number << 1) ^ (number >> 63)).cast_unsigned();
        while bits > 0x7f {
            self.out.push((bits & 0x7f) as u8 | 0x80);
            bits >>= 7;
        }
        self.out.push(bits as u8);
    }
}
