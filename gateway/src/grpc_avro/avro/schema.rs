//! Schemas, as the reader and the writer walk them.

use std::sync::Arc;

/// A schema without references: every named type stands where it is used. Not recursive, and
/// nested at most as deep as its parser permits, so that walking it needs bounded stack.
#[derive(Debug, Clone)]
pub enum Schema {
    /// The value `null`, in no bytes.
    Null,
    /// One byte, 0 or 1.
    Boolean,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// IEEE 754, 4 bytes.
    Float,
    /// IEEE 754, 8 bytes.
    Double,
    /// Any number of bytes.
    Bytes,
    /// UTF-8.
    String,
    /// A fixed number of bytes.
    Fixed(usize),
    /// One of its symbols.
    Enum(Arc<[String]>),
    /// Fields in order.
    Record(Arc<[Field]>),
    /// Items of one schema.
    Array(Arc<Schema>),
    /// Values of one schema under texts.
    Map(Arc<Schema>),
    /// A value of one of its branches.
    Union(Arc<[Schema]>),
}

/// A field of a record.
#[derive(Debug)]
pub struct Field {
    /// The field's name.
    pub name: String,
    /// The schema of its values.
    pub schema: Schema,
    /// The datum of its default.
    pub(crate) default: Option<Vec<u8>>,
}

impl Schema {
    /// Returns the schema of the field at the end of a path of names, through records and through
    /// unions with one record.
    #[must_use]
    pub fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |schema, name| {
            let fields = schema.fields()?;
            fields.iter().find(|field| field.name == *name).map(|field| &field.schema)
        })
    }

    /// Returns the fields of a record, or of the only record of a union.
    #[must_use]
    pub fn fields(&self) -> Option<&[Field]> {
        match self {
            Self::Record(fields) => Some(fields),
            Self::Union(branches) => {
                let mut records = branches.iter().filter_map(|branch| match branch {
                    Self::Record(fields) => Some(&fields[..]),
                    _ => None,
                });
                records.next().filter(|_| records.next().is_none())
            }
            _ => None,
        }
    }

    /// Returns the name of the type, as messages and settings mistakes show it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Fixed(_) => "fixed",
            Self::Enum(_) => "enum",
            Self::Record(_) => "record",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
        }
    }
}
