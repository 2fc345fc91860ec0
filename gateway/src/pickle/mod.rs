//! Python pickles of plain data: a bounded reader that executes nothing, and a writer.
//!
//! The modules are pure: bytes in, values out. Protocols decide which shapes they accept.
//!
//! | step | call |
//! |---|---|
//! | decompress a job of rq | [`inflate()`] |
//! | read a pickle of plain data | [`read`] |
//! | read one with the message objects of a protocol | [`read_objects`] |
//! | take the parts of an outer tuple or dict | [`Node::items`], [`Node::get`], [`Node::text`] |
//! | take a pickled function call apart | [`Document::call`] |
//! | write a value as JSON text | [`Node::json`] |
//! | write a pickle | [`Writer`] |
//!
//! # Bounds
//!
//! [`Bounds::bytes`] limits the pickle, the JSON text, and, while the pickle is read, the sum of
//! what its values need at least as JSON. An object that stands in many places is written in each,
//! so it counts in each. [`Bounds::depth`] limits the nesting of the JSON text. Nothing recurses:
//! open marks are positions on one stack, containers are indices into one list.
//!
//! # Example
//!
//! ```
//! use redcall_gateway::pickle::{Bounds, read};
//!
//! let bounds = Bounds { bytes: 2 << 20, depth: 64 };
//! // `{"a": [1, 1.5, None]}`, as Python writes it in protocol 4.
//! let pickle = b"\x80\x04}\x8c\x01a](K\x01G?\xf8\0\0\0\0\0\0Nes.";
//! let document = read(pickle, &bounds)?;
//! assert_eq!(document.root().json()?, r#"{"a":[1,1.5,null]}"#);
//! # Ok::<(), redcall_gateway::pickle::Refused>(())
//! ```

mod document;
mod inflate;
mod json;
mod keys;
mod number;
mod objects;
mod reader;
mod refused;
mod stack;
mod value;
mod writer;

pub use document::{Call, Document, Node};
pub use inflate::inflate;
pub use objects::Classes;
pub use reader::{read, read_objects};
pub use refused::Refused;
pub use value::Bounds;
pub use writer::Writer;
