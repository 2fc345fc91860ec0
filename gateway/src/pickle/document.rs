//! A pickle that was read, and access to its values.

use super::json;
use super::keys;
use super::number::Work;
use super::refused::Refused;
use super::value::{Bounds, Container, Kind, Span, Value};

/// The values of a pickle. Borrows its bytes.
#[derive(Debug)]
pub struct Document<'a> {
    pub(super) pickle: &'a [u8],
    pub(super) bounds: Bounds,
    pub(super) containers: Vec<Container>,
    references: Vec<Reference>,
    root: Value,
    /// The steps that its whole numbers may still take, as keys and as JSON.
    pub(super) work: Work,
}

/// A reference to a class or function.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) module: Span,
    pub(super) name: Span,
    /// `true` if an object or a member was made with it.
    pub(super) is_used: bool,
}

/// One value of a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    document: &'a Document<'a>,
    value: Value,
}

/// A pickled function call: `(function, None, arguments, {})`.
#[derive(Debug)]
pub struct Call<'a> {
    /// The dotted name of the function.
    pub function: &'a str,
    /// The arguments, in order.
    pub arguments: Vec<Node<'a>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(
        pickle: &'a [u8],
        bounds: Bounds,
        mut containers: Vec<Container>,
        references: Vec<Reference>,
        root: Value,
    ) -> Result<Self, Refused> {
        let work = Work::default();
        keys::settle(&mut containers, pickle, &work)?;
        Ok(Self { pickle, bounds, containers, references, root, work })
    }

    /// Returns the outermost value.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        self.node(self.root)
    }

    /// Returns the parts of a pickled function call without instance and keyword arguments.
    ///
    /// # Errors
    ///
    /// [`Refused::Shape`] if the outermost value is anything else.
    pub fn call(&self) -> Result<Call<'_>, Refused> {
        let parts = self.root().items().ok_or(Refused::Shape("not a tuple"))?;
        let [function, instance, arguments, keywords] = parts[..] else {
            return Err(Refused::Shape("not a tuple of four"));
        };
        let function = function.text().ok_or(Refused::Shape("a function without a name"))?;
        if !instance.is_none() {
            return Err(Refused::Shape("a call of a method"));
        }
        let arguments = arguments.items().ok_or(Refused::Shape("arguments outside of a tuple"))?;
        match keywords.entries() {
            Some(keywords) if keywords.is_empty() => Ok(Call { function, arguments }),
            _ => Err(Refused::Shape("keyword arguments")),
        }
    }

    /// Returns `true` if there is a reference that is neither one of `places` nor the class of an
    /// object or a member: also one that no value holds.
    #[must_use]
    pub fn has_references_beside(&self, places: &[Node<'_>]) -> bool {
        let is_reference = |value: &&Value| matches!(value, Value::Reference(_));
        let held = self.containers.iter().flat_map(|container| &container.items);
        let allowed = places.iter().map(|place| &place.value).filter(is_reference);
        let is_allowed = |index: usize| {
            let mut places = allowed.clone();
            places.any(|value| matches!(value, Value::Reference(at) if *at as usize == index))
        };
        let mut all = self.references.iter().enumerate();
        held.filter(is_reference).count() > allowed.clone().count()
            || all.any(|(index, reference)| !reference.is_used && !is_allowed(index))
    }

    fn node(&self, value: Value) -> Node<'_> {
        Node { document: self, value }
    }

    pub(super) fn container(&self, index: u32) -> Option<&Container> {
        self.containers.get(index as usize)
    }
}

impl<'a> Node<'a> {
    /// Returns a text.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self.value {
            Value::Text(span) => Some(span.text(self.document.pickle)),
            _ => None,
        }
    }

    /// Returns a whole number of at most 64 bits.
    #[must_use]
    pub fn whole(self) -> Option<i64> {
        match self.value {
            Value::Whole(whole) => Some(whole),
            _ => None,
        }
    }

    /// Returns true or false.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self.value {
            Value::Bool(boolean) => Some(boolean),
            _ => None,
        }
    }

    /// Returns `true` if the value is none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.value == Value::None
    }

    /// Returns the items of a list or a tuple.
    #[must_use]
    pub fn items(self) -> Option<Vec<Node<'a>>> {
        let container = self.container()?;
        let is_sequence = matches!(container.kind, Kind::List | Kind::Tuple);
        is_sequence.then(|| container.items.iter().map(|item| self.document.node(*item)).collect())
    }

    /// Returns the keys and values of a dict, in order.
    #[must_use]
    pub fn entries(self) -> Option<Vec<(Node<'a>, Node<'a>)>> {
        let container = self.container().filter(|container| container.kind == Kind::Dict)?;
        let node = |value: &Value| self.document.node(*value);
        Some(container.items.chunks_exact(2).map(|pair| (node(&pair[0]), node(&pair[1]))).collect())
    }

    /// Returns the value of a dict under a text.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Node<'a>> {
        let entries = self.entries()?;
        entries.into_iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Returns the module and the name of a reference to a class or function.
    #[must_use]
    pub fn reference(self) -> Option<(&'a str, &'a str)> {
        let Value::Reference(index) = self.value else { return None };
        let found = self.document.references.get(index as usize)?;
        Some((found.module.text(self.document.pickle), found.name.text(self.document.pickle)))
    }

    /// Returns the value of a member of the enumeration of [`super::Classes`].
    #[must_use]
    pub fn member(self) -> Option<u8> {
        match self.value {
            Value::Member(member) => Some(member),
            _ => None,
        }
    }

    /// Returns the state of an object of [`super::Classes`]: a dict.
    #[must_use]
    pub fn state(self) -> Option<Node<'a>> {
        let container = self.container().filter(|container| container.kind == Kind::Object)?;
        container.items.first().map(|state| self.document.node(*state))
    }

    /// Writes the value as JSON text. A tuple becomes an array; a key that is a whole number, true,
    /// false or none gets the name that Python's JSON writer gives it.
    ///
    /// # Errors
    ///
    /// [`Refused::NotJson`], [`Refused::TooLarge`] or [`Refused::TooDeep`].
    pub fn json(self) -> Result<String, Refused> {
        json::write(self.document, self.value)
    }

    fn container(self) -> Option<&'a Container> {
        match self.value {
            Value::Container(index) => self.document.container(index),
            _ => None,
        }
    }
}
