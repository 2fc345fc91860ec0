//! Reading a schema from its JSON (`.avsc`).
//!
//! All is checked when a gateway starts: names, references, nesting, and that each default is a
//! value of its field. Recursive schemas are refused: they would let a datum nest without bound.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::grpc_avro::avro::json::{self, Kind, elements, kind, member};
use crate::grpc_avro::avro::schema::{Field, Schema};
use crate::grpc_avro::avro::write::default_of;

/// The most bytes of a `fixed`.
const LARGEST_FIXED: usize = 1 << 24;

/// A schema that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", place(.path))]
pub struct SchemaError {
    /// The names of the records and fields around the fault, the outermost first.
    path: Vec<String>,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it is not JSON: {0}")]
    Json(String),
    #[error("`{0}` is neither a type of Avro nor a type defined before")]
    UnknownType(String),
    #[error("`{0}` contains itself; recursive schemas are not supported")]
    Recursive(String),
    #[error("it nests deeper than {0} levels")]
    Deep(usize),
    #[error("`{0}` is defined twice")]
    Twice(String),
    #[error("`{0}` is not a valid name: expected letters, digits and `_`, not first a digit")]
    Name(String),
    #[error("`{0}` is missing or has the wrong kind")]
    Attribute(&'static str),
    #[error("a union cannot be a branch of a union")]
    UnionInUnion,
    #[error("a union has no branches")]
    EmptyUnion,
    #[error("the default is not a value of the field: {0}")]
    Default(String),
}

fn place(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) }
}

impl From<Fault> for SchemaError {
    fn from(fault: Fault) -> Self {
        Self { path: Vec::new(), fault }
    }
}

impl SchemaError {
    fn in_field(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

impl Schema {
    /// Reads a schema that nests at most `depth` levels.
    ///
    /// # Errors
    ///
    /// If the text is not a valid schema, nests deeper, or contains itself.
    pub fn parse(text: &str, depth: usize) -> Result<Self, SchemaError> {
        let json: &RawValue =
            serde_json::from_str(text).map_err(|error| Fault::Json(error.to_string()))?;
        let mut parser = Parser { depth, named: HashMap::new() };
        let (schema, _) = parser.schema(json.get(), "", 1)?;
        Ok(schema)
    }
}

/// A schema and the number of its levels.
type Parsed = (Schema, usize);

struct Parser {
    depth: usize,
    /// The named types by their full names; `None` while a type is being read.
    named: HashMap<String, Option<Parsed>>,
}

impl Parser {
    /// Recurses at most `depth` levels.
    fn schema(&mut self, json: &str, space: &str, level: usize) -> Result<Parsed, SchemaError> {
        self.check_depth(level)?;
        let (schema, levels) = match kind(json) {
            Kind::Text => self.reference(&text_of(json), space)?,
            Kind::Array => self.union(json, space, level)?,
            Kind::Object => self.object(json, space, level)?,
            _ => return Err(Fault::Attribute("type").into()),
        };
        self.check_depth(level + levels - 1)?;
        Ok((schema, levels))
    }

    fn check_depth(&self, level: usize) -> Result<(), Fault> {
        if level <= self.depth { Ok(()) } else { Err(Fault::Deep(self.depth)) }
    }

    fn reference(&self, name: &str, space: &str) -> Result<Parsed, Fault> {
        if let Some(schema) = primitive(name) {
            return Ok((schema, 1));
        }
        let full = full_name(name, space);
        match self.named.get(&full) {
            Some(Some(parsed)) => Ok(parsed.clone()),
            Some(None) => Err(Fault::Recursive(full)),
            None => Err(Fault::UnknownType(name.to_owned())),
        }
    }

    fn object(&mut self, json: &str, space: &str, level: usize) -> Result<Parsed, SchemaError> {
        let inner = member(json, "type").ok_or(Fault::Attribute("type"))?;
        if kind(inner) != Kind::Text {
            return self
                .schema(inner, space, level + 1)
                .map(|(schema, levels)| (schema, levels + 1));
        }
        match &*text_of(inner) {
            "array" => {
                let items = member(json, "items").ok_or(Fault::Attribute("items"))?;
                let (items, levels) = self.schema(items, space, level + 1)?;
                Ok((Schema::Array(Arc::new(items)), levels + 1))
            }
            "map" => {
                let values = member(json, "values").ok_or(Fault::Attribute("values"))?;
                let (values, levels) = self.schema(values, space, level + 1)?;
                Ok((Schema::Map(Arc::new(values)), levels + 1))
            }
            kind @ ("record" | "enum" | "fixed") => self.named(kind, json, space, level),
            name => Ok(self.reference(name, space)?),
        }
    }

    fn named(
        &mut self,
        kind: &str,
        json: &str,
        space: &str,
        level: usize,
    ) -> Result<Parsed, SchemaError> {
        let name = attribute(json, "name")?;
        let own_space = member(json, "namespace").map(text_of);
        let full = full_name(&name, own_space.as_deref().unwrap_or(space));
        if !full.split('.').all(is_name) || primitive(&full).is_some() {
            return Err(Fault::Name(full).into());
        }
        if self.named.insert(full.clone(), None).is_some() {
            return Err(Fault::Twice(full).into());
        }
        let space = full.rsplit_once('.').map_or("", |(space, _)| space);
        let parsed = match kind {
            "record" => self.record(json, space, level).map_err(|error| error.in_field(&name))?,
            "enum" => (symbols(json)?, 1),
            _ => (fixed(json)?, 1),
        };
        self.named.insert(full, Some(parsed.clone()));
        Ok(parsed)
    }

    fn record(&mut self, json: &str, space: &str, level: usize) -> Result<Parsed, SchemaError> {
        let list = member(json, "fields").filter(|list| kind(list) == Kind::Array);
        let (mut fields, mut levels) = (Vec::<Field>::new(), 1);
        for json in elements(list.ok_or(Fault::Attribute("fields"))?) {
            let name = attribute(json, "name")?;
            if fields.iter().any(|field| field.name == name) {
                return Err(Fault::Twice(name).into());
            }
            let (field, below) =
                self.field(json, &name, space, level).map_err(|error| error.in_field(&name))?;
            levels = levels.max(below + 1);
            fields.push(field);
        }
        Ok((Schema::Record(fields.into()), levels))
    }

    fn field(
        &mut self,
        json: &str,
        name: &str,
        space: &str,
        level: usize,
    ) -> Result<(Field, usize), SchemaError> {
        if !is_name(name) {
            return Err(Fault::Name(name.to_owned()).into());
        }
        let inner = member(json, "type").ok_or(Fault::Attribute("type"))?;
        let (schema, levels) = self.schema(inner, space, level + 1)?;
        let default = member(json, "default").map(|default| default_of(&schema, default));
        let default = default.transpose().map_err(|error| Fault::Default(error.to_string()))?;
        Ok((Field { name: name.to_owned(), schema, default }, levels))
    }

    fn union(&mut self, json: &str, space: &str, level: usize) -> Result<Parsed, SchemaError> {
        let (mut branches, mut seen, mut levels) = (Vec::new(), Vec::<String>::new(), 1);
        for branch in elements(json) {
            let (schema, below) = self.schema(branch, space, level + 1)?;
            if matches!(schema, Schema::Union(_)) {
                return Err(Fault::UnionInUnion.into());
            }
            let name = branch_name(&schema, branch, space);
            if seen.contains(&name) {
                return Err(Fault::Twice(name).into());
            }
            seen.push(name);
            levels = levels.max(below + 1);
            branches.push(schema);
        }
        if branches.is_empty() {
            return Err(Fault::EmptyUnion.into());
        }
        Ok((Schema::Union(branches.into()), levels))
    }
}

/// Returns the name by which a branch must differ from the others of its union.
fn branch_name(schema: &Schema, json: &str, space: &str) -> String {
    let is_named = matches!(schema, Schema::Record(_) | Schema::Enum(_) | Schema::Fixed(_));
    let mut json = json;
    // `{"type": {"type": …}}` means the same as its inner object.
    while let Some(inner) = member(json, "type").filter(|inner| kind(inner) == Kind::Object) {
        json = inner;
    }
    let name = match kind(json) {
        Kind::Text => Some(text_of(json)),
        _ => member(json, "name").or_else(|| member(json, "type")).map(text_of),
    };
    let own_space = member(json, "namespace").map(text_of);
    let space = own_space.as_deref().unwrap_or(space);
    name.filter(|_| is_named)
        .map_or_else(|| schema.name().to_owned(), |name| full_name(&name, space))
}

fn symbols(json: &str) -> Result<Schema, SchemaError> {
    let list = member(json, "symbols").filter(|list| kind(list) == Kind::Array);
    let mut symbols = Vec::new();
    for symbol in elements(list.ok_or(Fault::Attribute("symbols"))?) {
        let symbol = text_of(symbol);
        if !is_name(&symbol) {
            return Err(Fault::Name(symbol).into());
        }
        if symbols.contains(&symbol) {
            return Err(Fault::Twice(symbol).into());
        }
        symbols.push(symbol);
    }
    if symbols.is_empty() {
        return Err(Fault::Attribute("symbols").into());
    }
    Ok(Schema::Enum(symbols.into()))
}

fn fixed(json: &str) -> Result<Schema, Fault> {
    let size = member(json, "size").and_then(|size| size.parse().ok());
    let size = size.filter(|size| *size <= LARGEST_FIXED);
    size.map(Schema::Fixed).ok_or(Fault::Attribute("size"))
}

fn primitive(name: &str) -> Option<Schema> {
    Some(match name {
        "null" => Schema::Null,
        "boolean" => Schema::Boolean,
        "int" => Schema::Int,
        "long" => Schema::Long,
        "float" => Schema::Float,
        "double" => Schema::Double,
        "bytes" => Schema::Bytes,
        "string" => Schema::String,
        _ => return None,
    })
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}

fn is_name(name: &str) -> bool {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars().all(is_part) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn attribute(json: &str, name: &'static str) -> Result<String, Fault> {
    let found = member(json, name).filter(|value| kind(value) == Kind::Text);
    found.map(text_of).ok_or(Fault::Attribute(name))
}

/// Returns the characters of a text; of a text that is not valid, and of another value, nothing,
/// which is not a valid name.
fn text_of(json: &str) -> String {
    let text = (kind(json) == Kind::Text).then(|| json::text(json)).flatten();
    text.map(std::borrow::Cow::into_owned).unwrap_or_default()
}
