//! A datum as JSON text.

use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::grpc_avro::avro::input::Input;
use crate::grpc_avro::avro::json;
use crate::grpc_avro::avro::schema::{Field, Schema};

/// The bounds of one reading.
#[derive(Debug, Clone, Copy)]
pub struct ReadBounds {
    /// The most bytes of a datum, items without bytes counting as one each.
    pub message: usize,
    /// The most bytes of JSON.
    pub json: usize,
}

/// A datum that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {fault}")]
pub struct ReadError {
    /// The number of bytes before the fault.
    pub at: usize,
    /// The reason.
    pub fault: Fault,
}

impl ReadError {
    /// Returns `true` if the datum, or its JSON, is over a bound.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        matches!(self.fault, Fault::TooLarge)
    }
}

/// The reason why a datum was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends within a value.
    #[error("the datum ends here")]
    End,
    /// Bytes are left after its value.
    #[error("the datum's value ends here and more bytes follow")]
    Left,
    /// A number of more than 64 bits.
    #[error("a number has more than 64 bits")]
    Number,
    /// An int of more than 32 bits.
    #[error("an int has more than 32 bits")]
    Int,
    /// A boolean other than 0 and 1.
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    /// A float or double without a JSON form.
    #[error("a number is not finite")]
    NotFinite,
    /// A negative length.
    #[error("a length is negative")]
    Length,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// A branch that the union does not have.
    #[error("the union has no such branch")]
    Branch,
    /// A symbol that the enum does not have.
    #[error("the enum has no such symbol")]
    Symbol,
    /// The size of a block of items is wrong.
    #[error("a block of items has another size than it states")]
    Block,
    /// Two values of a map have the same key.
    #[error("a map has a key twice")]
    Key,
    /// Over the bound of a message or of its JSON.
    #[error("the datum is too large")]
    TooLarge,
}

/// Returns a datum as JSON text. All input must be used.
///
/// # Errors
///
/// If the bytes are not a datum of the schema, or it is over a bound.
pub fn read(schema: &Schema, datum: &[u8], bounds: ReadBounds) -> Result<Box<RawValue>, ReadError> {
    let mut reader = Reader {
        input: Input { rest: datum },
        out: Vec::new(),
        json: bounds.json,
        empty_items: bounds.message.saturating_sub(datum.len()),
    };
    let result = match datum.len() > bounds.message {
        true => Err(Fault::TooLarge),
        false => reader.value(schema).and_then(|()| reader.end()),
    };
    let at = datum.len() - reader.input.rest.len();
    let error = |fault| ReadError { at, fault };
    result.map_err(error)?;
    let text = String::from_utf8(reader.out).map_err(|_| error(Fault::Utf8))?;
    RawValue::from_string(text).map_err(|_| error(Fault::NotFinite))
}

struct Reader<'a> {
    input: Input<'a>,
    out: Vec<u8>,
    /// The most bytes of `out`.
    json: usize,
    /// How many more items may have no bytes.
    empty_items: usize,
}

impl Reader<'_> {
    /// Recurses as deep as the schema nests, which its parser bounds.
    fn value(&mut self, schema: &Schema) -> Result<(), Fault> {
        match schema {
            Schema::Null => self.push(b"null"),
            Schema::Boolean => match self.input.array()? {
                [0] => self.push(b"false"),
                [1] => self.push(b"true"),
                _ => Err(Fault::Boolean),
            },
            Schema::Int => {
                let number = self.input.int()?;
                self.number(&number)
            }
            Schema::Long => {
                let number = self.input.long()?;
                self.number(&number)
            }
            Schema::Float => {
                let number = f32::from_le_bytes(self.input.array()?);
                if number.is_finite() { self.number(&number) } else { Err(Fault::NotFinite) }
            }
            Schema::Double => {
                let number = f64::from_le_bytes(self.input.array()?);
                if number.is_finite() { self.number(&number) } else { Err(Fault::NotFinite) }
            }
            Schema::Bytes => {
                let bytes = self.input.bytes()?;
                self.bytes(bytes)
            }
            Schema::Fixed(size) => {
                let bytes = self.input.take(*size)?;
                self.bytes(bytes)
            }
            Schema::String => {
                let text = self.input.text()?;
                self.text(text)
            }
            Schema::Enum(symbols) => {
                let index = self.input.index(symbols.len(), Fault::Symbol)?;
                self.text(&symbols[index])
            }
            Schema::Record(fields) => self.record(fields),
            Schema::Array(items) => self.array(items),
            Schema::Map(values) => self.map(values),
            Schema::Union(branches) => {
                let index = self.input.index(branches.len(), Fault::Branch)?;
                self.value(&branches[index])
            }
        }
    }

    fn record(&mut self, fields: &[Field]) -> Result<(), Fault> {
        self.push(b"{")?;
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.push(b",")?;
            }
            self.text(&field.name)?;
            self.push(b":")?;
            self.value(&field.schema)?;
        }
        self.push(b"}")
    }

    fn array(&mut self, items: &Schema) -> Result<(), Fault> {
        self.push(b"[")?;
        let mut is_first = true;
        self.blocks(|reader| {
            if !std::mem::take(&mut is_first) {
                reader.push(b",")?;
            }
            reader.value(items)
        })?;
        self.push(b"]")
    }

    fn map(&mut self, values: &Schema) -> Result<(), Fault> {
        self.push(b"{")?;
        let mut keys = HashSet::new();
        self.blocks(|reader| {
            let key = reader.input.text()?;
            if !keys.is_empty() {
                reader.push(b",")?;
            }
            if !keys.insert(key) {
                return Err(Fault::Key);
            }
            reader.text(key)?;
            reader.push(b":")?;
            reader.value(values)
        })?;
        self.push(b"}")
    }

    /// Reads items in blocks, up to the block of no items.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        loop {
            let count = self.input.long()?;
            if count == 0 {
                return Ok(());
            }
            let mut end = None;
            if count < 0 {
                let size = usize::try_from(self.input.long()?).map_err(|_| Fault::Length)?;
                end = Some(self.input.rest.len().checked_sub(size).ok_or(Fault::End)?);
            }
            for _ in 0..count.unsigned_abs() {
                let before = self.input.rest.len();
                item(self)?;
                if before == self.input.rest.len() {
                    self.empty_items = self.empty_items.checked_sub(1).ok_or(Fault::TooLarge)?;
                }
            }
            if end.is_some_and(|end| end != self.input.rest.len()) {
                return Err(Fault::Block);
            }
        }
    }

    fn end(&self) -> Result<(), Fault> {
        if self.input.rest.is_empty() { Ok(()) } else { Err(Fault::Left) }
    }

    fn number(&mut self, number: &impl serde::Serialize) -> Result<(), Fault> {
        // A finite number always serialises.
        serde_json::to_writer(&mut self.out, number).map_err(|_| Fault::NotFinite)?;
        self.bounded()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        self.text(&text)
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        json::push_text(&mut self.out, text);
        self.bounded()
    }

    fn push(&mut self, json: &[u8]) -> Result<(), Fault> {
        self.out.extend_from_slice(json);
        self.bounded()
    }

    /// Checked after each part: a part is at most six times as large as its input.
    fn bounded(&self) -> Result<(), Fault> {
        if self.out.len() <= self.json { Ok(()) } else { Err(Fault::TooLarge) }
    }
}
