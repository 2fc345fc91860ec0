//! The values of a pickle that was read: small, and without pointers to each other.

/// Upper bounds of one pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Size of the pickle and of the JSON text of each of its values, in bytes.
    pub bytes: usize,
    /// Nesting of the JSON text, in levels.
    pub depth: usize,
}

/// A part of the pickle's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Index of the first byte.
    pub(super) start: u32,
    /// Length, in bytes.
    pub(super) len: u32,
}

impl Span {
    /// Returns the part of `bytes`; empty if it is not theirs.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start.saturating_add(self.len as usize)).unwrap_or_default()
    }

    /// Returns the part of `bytes` as text, which the reader has checked.
    pub(super) fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    /// A whole number of up to 64 bits.
    Whole(i64),
    /// A larger one: two's complement, the least significant byte first, no byte more than needed.
    Large(Span),
    /// A finite number.
    Float(f64),
    /// Checked UTF-8.
    Text(Span),
    /// Index of a container.
    Container(u32),
    /// Index of a reference to a class or function.
    Reference(u32),
    /// A member of the enumeration of [`super::Classes`].
    Member(u8),
}

impl Value {
    /// Returns the least size of the value itself as JSON, with its separator; without the content
    /// of a container, whose values count themselves.
    pub(super) fn least_size(self) -> usize {
        match self {
            Value::None | Value::Bool(_) | Value::Float(_) | Value::Container(_) => 3,
            Value::Text(span) => span.len as usize + 3,
            Value::Large(span) => (span.len as usize).saturating_mul(2),
            Value::Whole(_) | Value::Reference(_) | Value::Member(_) => 2,
        }
    }
}

/// The kind of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Tuple,
    /// Its items are keys and values in turn.
    Dict,
    /// An object of the class of [`super::Classes`]. Its item is its state, once it has one.
    Object,
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) kind: Kind,
    pub(super) items: Vec<Value>,
}
