//! Random schemas, each with a random value: as JSON, and as the value of `apache-avro`.

use std::collections::HashMap;

use apache_avro::types::Value;
use fastrand::Rng;
use serde_json::json;

/// A schema and a value of it.
pub(super) struct Case {
    pub(super) schema: String,
    /// The value's JSON.
    pub(super) json: String,
    pub(super) value: Value,
}

/// The unions that may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unions {
    /// The kind of a JSON value determines its branch.
    Plain,
    /// Several branches may take a JSON value.
    Ambiguous,
}

/// Returns a random case.
pub(super) fn case(rng: &mut Rng, unions: Unions) -> Case {
    let mut maker = Maker { rng, unions, named: Vec::new(), names: 0 };
    let made = maker.made(4);
    let schema = written(&made, &mut Vec::new()).to_string();
    let (json, value) = maker.value(&made);
    Case { schema, json, value }
}

#[derive(Debug, Clone)]
enum Made {
    Primitive(&'static str),
    Fixed(String, usize),
    Enum(String, Vec<String>),
    Record(String, Vec<(String, Made)>),
    Array(Box<Made>),
    Map(Box<Made>),
    Union(Vec<Made>),
}

const PRIMITIVES: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

struct Maker<'a> {
    rng: &'a mut Rng,
    unions: Unions,
    named: Vec<Made>,
    names: usize,
}

impl Maker<'_> {
    fn made(&mut self, depth: usize) -> Made {
        if depth > 0 && self.rng.u8(..5) == 0 {
            return self.union(depth - 1);
        }
        self.no_union(depth)
    }

    fn no_union(&mut self, depth: usize) -> Made {
        match self.rng.u8(..if depth == 0 { 10 } else { 16 }) {
            0..8 => Made::Primitive(self.rng.choice(PRIMITIVES).unwrap()),
            8 if !self.named.is_empty() => self.rng.choice(&self.named).unwrap().clone(),
            8 | 9 => self.small_named(),
            10 | 11 => Made::Array(Box::new(self.made(depth - 1))),
            12 => Made::Map(Box::new(self.made(depth - 1))),
            _ => self.record(depth - 1),
        }
    }

    fn small_named(&mut self) -> Made {
        let name = self.name();
        let made = if self.rng.bool() {
            Made::Fixed(name, self.rng.usize(..5))
        } else {
            Made::Enum(name, (0..self.rng.usize(1..5)).map(|index| format!("S{index}")).collect())
        };
        self.named.push(made.clone());
        made
    }

    fn record(&mut self, depth: usize) -> Made {
        let name = self.name();
        let count = self.rng.usize(..5);
        let fields = (0..count).map(|index| (format!("f{index}"), self.made(depth))).collect();
        let made = Made::Record(name, fields);
        self.named.push(made.clone());
        made
    }

    fn name(&mut self) -> String {
        self.names += 1;
        let space = if self.rng.bool() { "some.space" } else { "other" };
        format!("{space}.n{}", self.names)
    }

    fn union(&mut self, depth: usize) -> Made {
        let mut branches: Vec<Made> = Vec::new();
        for _ in 0..self.rng.usize(1..6) {
            let branch = self.no_union(depth);
            let is_clear = |other: &Made| match self.unions {
                Unions::Plain => kind(other) != kind(&branch),
                Unions::Ambiguous => !clash(other, &branch),
            };
            if branches.iter().all(is_clear) {
                branches.push(branch);
            }
        }
        Made::Union(branches)
    }

    fn value(&mut self, made: &Made) -> (String, Value) {
        match made {
            Made::Primitive(name) => self.primitive(name),
            Made::Fixed(_, size) => {
                let bytes = self.bytes(*size);
                (text(&latin(&bytes)), Value::Fixed(*size, bytes))
            }
            Made::Enum(_, symbols) => {
                let index = self.rng.usize(..symbols.len());
                let symbol = symbols[index].clone();
                (text(&symbol), Value::Enum(u32::try_from(index).unwrap(), symbol))
            }
            Made::Record(_, fields) => {
                let made: Vec<_> =
                    fields.iter().map(|(name, made)| (name.clone(), self.value(made))).collect();
                let members = made.iter().map(|(name, (json, _))| format!("{}:{json}", text(name)));
                let json = members.collect::<Vec<_>>().join(",");
                let values = made.into_iter().map(|(name, (_, value))| (name, value));
                (format!("{{{json}}}"), Value::Record(values.collect()))
            }
            Made::Array(items) => {
                let count = self.rng.usize(..4);
                let (json, values): (Vec<_>, _) = (0..count).map(|_| self.value(items)).unzip();
                (format!("[{}]", json.join(",")), Value::Array(values))
            }
            // At most one: `apache-avro` writes several in any order.
            Made::Map(values) => {
                let mut map = HashMap::new();
                if self.rng.bool() {
                    return ("{}".to_owned(), Value::Map(map));
                }
                let (key, (json, value)) = (self.text(), self.value(values));
                let json = format!("{{{}:{json}}}", text(&key));
                map.insert(key, value);
                (json, Value::Map(map))
            }
            Made::Union(branches) => {
                let index = self.rng.usize(..branches.len());
                let (json, value) = self.value(&branches[index]);
                (json, Value::Union(u32::try_from(index).unwrap(), Box::new(value)))
            }
        }
    }

    fn primitive(&mut self, name: &str) -> (String, Value) {
        match name {
            "null" => ("null".to_owned(), Value::Null),
            "boolean" => {
                let value = self.rng.bool();
                (value.to_string(), Value::Boolean(value))
            }
            "int" => {
                let value = self.rng.i32(..) >> self.rng.u32(..32);
                (value.to_string(), Value::Int(value))
            }
            "long" => {
                let value = self.rng.i64(..) >> self.rng.u32(..64);
                (value.to_string(), Value::Long(value))
            }
            "float" => {
                let finite = || f32::from_bits(self.rng.u32(..));
                let value = std::iter::repeat_with(finite).find(|float| float.is_finite()).unwrap();
                (serde_json::to_string(&value).unwrap(), Value::Float(value))
            }
            "double" => {
                let finite = || f64::from_bits(self.rng.u64(..));
                let value = std::iter::repeat_with(finite).find(|float| float.is_finite()).unwrap();
                (serde_json::to_string(&value).unwrap(), Value::Double(value))
            }
            "bytes" => {
                let size = self.rng.usize(..9);
                let bytes = self.bytes(size);
                (text(&latin(&bytes)), Value::Bytes(bytes))
            }
            _ => {
                let value = self.text();
                (text(&value), Value::String(value))
            }
        }
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.rng.u8(..)).collect()
    }

    fn text(&mut self) -> String {
        let count = self.rng.usize(..8);
        let pick = |rng: &mut Rng| match rng.u8(..4) {
            0 => rng.char('\0'..'\u{80}'),
            1 => rng.char('\u{80}'..'\u{800}'),
            2 => rng.char('\u{800}'..=char::MAX),
            _ => rng.alphanumeric(),
        };
        (0..count).map(|_| pick(self.rng)).collect()
    }
}

/// The kind of a type's JSON: null, boolean, number, text, array or object.
fn kind(made: &Made) -> char {
    match made {
        Made::Primitive("null") => 'n',
        Made::Primitive("boolean") => 'b',
        Made::Primitive("int" | "long" | "float" | "double") => '0',
        Made::Primitive(_) | Made::Fixed(..) | Made::Enum(..) => '"',
        Made::Array(_) => '[',
        Made::Record(..) | Made::Map(_) => '{',
        Made::Union(_) => unreachable!("not a branch"),
    }
}

/// Returns `true` if two types cannot be branches of one union, or if the same value has other
/// digits as the other type.
fn clash(one: &Made, other: &Made) -> bool {
    match (one, other) {
        (Made::Primitive(one), Made::Primitive(other)) => {
            one == other || matches!((*one, *other), ("float", "double") | ("double", "float"))
        }
        (Made::Array(_), Made::Array(_)) | (Made::Map(_), Made::Map(_)) => true,
        _ => name(one).is_some() && name(one) == name(other),
    }
}

fn name(made: &Made) -> Option<&str> {
    match made {
        Made::Fixed(name, _) | Made::Enum(name, _) | Made::Record(name, _) => Some(name),
        _ => None,
    }
}

/// The schema's JSON: a named type is written once, then referred to.
fn written(made: &Made, defined: &mut Vec<String>) -> serde_json::Value {
    if let Some(name) = name(made) {
        if defined.iter().any(|defined| defined == name) {
            return json!(name);
        }
        defined.push(name.to_owned());
    }
    match made {
        Made::Primitive(name) => json!(name),
        Made::Fixed(name, size) => json!({"type": "fixed", "name": name, "size": size}),
        Made::Enum(name, symbols) => {
            json!({"type": "enum", "name": name, "symbols": symbols})
        }
        Made::Record(name, fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, made)| json!({"name": name, "type": written(made, defined)}))
                .collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
        Made::Array(items) => json!({"type": "array", "items": written(items, defined)}),
        Made::Map(values) => json!({"type": "map", "values": written(values, defined)}),
        Made::Union(branches) => branches.iter().map(|branch| written(branch, defined)).collect(),
    }
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

pub(super) fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
