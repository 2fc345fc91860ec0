//! Writes values as JSON text: bounded in size and depth, without recursion.

use std::io;

use serde::Serialize;

use super::document::Document;
use super::keys;
use super::number;
use super::refused::Refused;
use super::value::{Container, Kind, Value};

/// Writes `value` as JSON.
pub(super) fn write(document: &Document<'_>, value: Value) -> Result<String, Refused> {
    let mut writer = Json {
        document,
        text: Bounded { bytes: Vec::new(), limit: document.bounds.bytes },
        open: Vec::new(),
    };
    writer.value(value)?;
    while writer.step()? {}
    String::from_utf8(writer.text.bytes).map_err(|_| Refused::NotJson("not UTF-8"))
}

struct Json<'a> {
    document: &'a Document<'a>,
    text: Bounded,
    /// Containers whose end is not written yet, with the index of the next item.
    open: Vec<(&'a Container, usize)>,
}

impl Json<'_> {
    fn value(&mut self, value: Value) -> Result<(), Refused> {
        let pickle = self.document.pickle;
        match value {
            Value::None => self.text.push("null"),
            Value::Bool(true) => self.text.push("true"),
            Value::Bool(false) => self.text.push("false"),
            Value::Whole(whole) => self.text.push(&whole.to_string()),
            Value::Large(span) => {
                self.text.push(&number::to_decimal(span.of(pickle), &self.document.work)?)
            }
            Value::Float(float) => self.text.serialize(&float),
            Value::Text(span) => self.text.serialize(span.text(pickle)),
            Value::Container(index) => self.open(index),
            Value::Reference(_) | Value::Member(_) => Err(Refused::NotJson("a reference")),
        }
    }

    fn open(&mut self, index: u32) -> Result<(), Refused> {
        let container = self.document.container(index);
        let container = container.ok_or(Refused::NotJson("a container that is missing"))?;
        if self.open.len() >= self.document.bounds.depth {
            return Err(Refused::TooDeep(self.document.bounds.depth));
        }
        self.text.push(match container.kind {
            Kind::List | Kind::Tuple => "[",
            Kind::Dict => "{",
            Kind::Object => return Err(Refused::NotJson("an object")),
        })?;
        self.open.push((container, 0));
        Ok(())
    }

    /// Writes the next item of the innermost open container, or its end. Returns `false` if no
    /// container is open.
    fn step(&mut self) -> Result<bool, Refused> {
        let Some((container, next)) = self.open.last_mut() else { return Ok(false) };
        let (container, at) = (*container, *next);
        let (width, end) = if container.kind == Kind::Dict { (2, "}") } else { (1, "]") };
        *next += width;
        match container.items.get(at..at + width) {
            Some(item) => {
                if at > 0 {
                    self.text.push(",")?;
                }
                if let [key, _] = item {
                    let name = keys::name(*key, self.document.pickle, &self.document.work)?;
                    self.text.serialize(&name)?;
                    self.text.push(":")?;
                }
                self.value(item[width - 1])?;
            }
            None => {
                self.open.pop();
                self.text.push(end)?;
            }
        }
        Ok(true)
    }
}

/// A buffer that refuses to grow beyond its limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Bounded {
    fn push(&mut self, text: &str) -> Result<(), Refused> {
        if text.len() > self.limit - self.bytes.len() {
            return Err(Refused::TooLarge(self.limit));
        }
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let limit = self.limit;
        serde_json::to_writer(self, value).map_err(|_| Refused::TooLarge(limit))
    }
}

impl io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if part.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
