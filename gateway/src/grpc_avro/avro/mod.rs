//! Avro datums, straight to and from JSON text.
//!
//! Bare datums only: no container file, no schema id in front. Pure: bytes in, text out, no I/O.
//!
//! | file | holds |
//! |---|---|
//! | `schema.rs` | a schema, without references |
//! | `parse.rs` | reading a schema from its JSON (`.avsc`) |
//! | `read.rs`, `input.rs` | a datum as JSON text |
//! | `write.rs`, `choose.rs` | JSON text as a datum; the branch of a union for a value |
//! | `json.rs` | a cursor over JSON text |
//!
//! The JSON of a datum is plain:
//!
//! | Avro | JSON |
//! |---|---|
//! | null, boolean, int, long, string, array, map | the same |
//! | float, double | the shortest digits that read back; NaN and infinities are refused |
//! | bytes, fixed | a text, one character U+0000 to U+00FF per byte, as in Avro's own JSON |
//! | enum | its symbol |
//! | record | an object with all fields, in order |
//! | union | the value of its branch, without the branch's name |
//!
//! Logical types are read and written as the types that carry them.

mod choose;
mod input;
pub(crate) mod json;
mod parse;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub use parse::SchemaError;
pub use read::{ReadBounds, ReadError, read};
pub use schema::{Field, Schema};
pub use write::{Unknown, WriteError, write};
