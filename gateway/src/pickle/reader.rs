//! Reads the instructions of a pickle. It only builds values: no instruction runs anything.

use std::collections::BTreeMap;

use super::document::{Document, Reference};
use super::number;
use super::objects::Classes;
use super::refused::Refused;
use super::stack::Stack;
use super::value::{Bounds, Container, Kind, Span, Value};

/// Reads a pickle of plain data, protocol 2 to 5.
///
/// # Errors
///
/// The reason why it is refused; see [`super`].
pub fn read<'a>(pickle: &'a [u8], bounds: &Bounds) -> Result<Document<'a>, Refused> {
    Reader::new(pickle, bounds, None)?.run()
}

/// As [`read`], and accepts the objects of two classes and inert references.
///
/// # Errors
///
/// As [`read`].
pub fn read_objects<'a>(
    pickle: &'a [u8],
    bounds: &Bounds,
    classes: &Classes,
) -> Result<Document<'a>, Refused> {
    Reader::new(pickle, bounds, Some(*classes))?.run()
}

struct Reader<'a> {
    pickle: &'a [u8],
    at: usize,
    bounds: Bounds,
    classes: Option<Classes>,
    stack: Stack,
    containers: Vec<Container>,
    references: Vec<Reference>,
    /// Remembered values, by index.
    memo: BTreeMap<u32, Value>,
}

impl<'a> Reader<'a> {
    fn new(pickle: &'a [u8], bounds: &Bounds, classes: Option<Classes>) -> Result<Self, Refused> {
        // Positions are 32 bits.
        let limit = bounds.bytes.min(u32::MAX as usize);
        if pickle.len() > limit {
            return Err(Refused::TooLarge(limit));
        }
        if pickle.first().is_some_and(|first| *first != 0x80) {
            return Err(Refused::Protocol);
        }
        Ok(Self {
            pickle,
            at: 0,
            bounds: *bounds,
            classes,
            stack: Stack::new(bounds.bytes),
            containers: Vec::new(),
            references: Vec::new(),
            memo: BTreeMap::new(),
        })
    }

    fn run(mut self) -> Result<Document<'a>, Refused> {
        loop {
            let [instruction] = self.array()?;
            match instruction {
                b'.' => break,
                0x80 => self.protocol()?,
                0x95 => self.frame()?,
                b'(' => self.stack.mark()?,
                b'0' => self.stack.discard()?,
                b'1' => drop(self.stack.pop_mark()?),
                b'2' => self.stack.push(self.stack.top()?)?,
                b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a | 0x8b | b'G' => {
                    let scalar = self.scalar(instruction)?;
                    self.stack.push(scalar)?;
                }
                0x8c | b'X' | 0x8d => self.text(instruction)?,
                b']' | b')' | b'}' | b'l' | b't' | b'd' | 0x85..=0x87 => {
                    self.container(instruction)?;
                }
                b'a' | b'e' | b's' | b'u' => self.add(instruction)?,
                0x94 | b'q' | b'r' | b'h' | b'j' => self.remember(instruction)?,
                b'c' | 0x93 | 0x81 | b'R' | b'b' => self.object(instruction)?,
                other => return Err(Refused::Instruction(other)),
            }
        }
        if self.at != self.pickle.len() {
            return Err(Refused::Malformed("bytes after the end"));
        }
        let root = self.stack.last()?;
        Document::new(self.pickle, self.bounds, self.containers, self.references, root)
    }

    fn protocol(&mut self) -> Result<(), Refused> {
        let [protocol] = self.array()?;
        if (2..=5).contains(&protocol) { Ok(()) } else { Err(Refused::Protocol) }
    }

    /// A frame states how many bytes follow. Nothing depends on it.
    fn frame(&mut self) -> Result<(), Refused> {
        let length = u64::from_le_bytes(self.array()?);
        let left = self.pickle.len() - self.at;
        if length > left as u64 { Err(Refused::CutOff) } else { Ok(()) }
    }

    fn scalar(&mut self, instruction: u8) -> Result<Value, Refused> {
        Ok(match instruction {
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Whole(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Whole(u8::from_le_bytes(self.array()?).into()),
            b'M' => Value::Whole(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let [length] = self.array()?;
                self.whole(length.into())?
            }
            0x8b => {
                let length = i32::from_le_bytes(self.array()?);
                self.whole(u64::try_from(length).map_err(|_| Refused::CutOff)?)?
            }
            b'G' => {
                let float = f64::from_be_bytes(self.array()?);
                if !float.is_finite() {
                    return Err(Refused::NotJson("a number that is not finite"));
                }
                Value::Float(float)
            }
            _ => Value::None,
        })
    }

    fn whole(&mut self, length: u64) -> Result<Value, Refused> {
        let span = self.span(length)?;
        let bytes = number::shortest(span.of(self.pickle));
        let len = u32::try_from(bytes.len()).map_err(|_| Refused::CutOff)?;
        Ok(number::small(bytes).map_or(Value::Large(Span { len, ..span }), Value::Whole))
    }

    fn text(&mut self, instruction: u8) -> Result<(), Refused> {
        let length = match instruction {
            0x8c => u8::from_le_bytes(self.array()?).into(),
            b'X' => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        };
        let span = self.span(length)?;
        // Python writes half of a surrogate pair as three bytes, which are not UTF-8.
        std::str::from_utf8(span.of(self.pickle)).map_err(|_| Refused::NotJson("not UTF-8"))?;
        self.stack.push(Value::Text(span))
    }

    fn container(&mut self, instruction: u8) -> Result<(), Refused> {
        let (kind, items) = match instruction {
            b']' => (Kind::List, Vec::new()),
            b'}' => (Kind::Dict, Vec::new()),
            b')' => (Kind::Tuple, Vec::new()),
            b'l' => (Kind::List, self.stack.pop_mark()?),
            b't' => (Kind::Tuple, self.stack.pop_mark()?),
            b'd' => (Kind::Dict, even(self.stack.pop_mark()?)?),
            _ => {
                let mut items = Vec::with_capacity(usize::from(instruction - 0x84));
                for _ in 0x85..=instruction {
                    items.push(self.stack.pop()?);
                }
                items.reverse();
                (Kind::Tuple, items)
            }
        };
        self.push_container(kind, items)
    }

    fn push_container(&mut self, kind: Kind, items: Vec<Value>) -> Result<(), Refused> {
        let index = u32::try_from(self.containers.len()).map_err(|_| Refused::CutOff)?;
        self.stack.push(Value::Container(index))?;
        self.containers.push(Container { kind, items });
        Ok(())
    }

    /// Adds one or many items to the container below them.
    fn add(&mut self, instruction: u8) -> Result<(), Refused> {
        let (kind, items) = match instruction {
            b'a' => (Kind::List, vec![self.stack.pop()?]),
            b'e' => (Kind::List, self.stack.pop_mark()?),
            b's' => {
                let value = self.stack.pop()?;
                (Kind::Dict, vec![self.stack.pop()?, value])
            }
            _ => (Kind::Dict, even(self.stack.pop_mark()?)?),
        };
        let below = self.stack.top()?;
        let container = self.container_of(below, kind)?;
        container.items.extend(items);
        Ok(())
    }

    fn container_of(&mut self, value: Value, kind: Kind) -> Result<&mut Container, Refused> {
        let Value::Container(index) = value else { return Err(OTHER_KIND) };
        let container = self.containers.get_mut(index as usize).ok_or(OTHER_KIND)?;
        if container.kind == kind { Ok(container) } else { Err(OTHER_KIND) }
    }

    fn remember(&mut self, instruction: u8) -> Result<(), Refused> {
        let index = match instruction {
            0x94 => u32::try_from(self.memo.len()).map_err(|_| Refused::CutOff)?,
            b'q' | b'h' => u8::from_le_bytes(self.array()?).into(),
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(instruction, b'h' | b'j') {
            let found = self.memo.get(&index).copied();
            return self.stack.push(found.ok_or(Refused::Malformed("a memo is missing"))?);
        }
        // Python remembers each value at most once.
        if self.memo.len() >= self.stack.pushed() {
            return Err(Refused::Malformed("more memos than values"));
        }
        self.memo.insert(index, self.stack.top()?);
        Ok(())
    }

    /// References and objects, which only a protocol with [`Classes`] has.
    fn object(&mut self, instruction: u8) -> Result<(), Refused> {
        let classes = self.classes.ok_or(Refused::Instruction(instruction))?;
        match instruction {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.reference(module, name)
            }
            0x93 => {
                let (name, module) = (self.stack.pop()?, self.stack.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(Refused::Object("a reference without a name"));
                };
                self.reference(module, name)
            }
            0x81 => {
                let (arguments, class) = (self.stack.pop()?, self.stack.pop()?);
                let is_empty = self.container_of(arguments, Kind::Tuple)?.items.is_empty();
                if !is_empty || !self.uses(class, classes.object) {
                    return Err(Refused::Object("of another class, or with arguments"));
                }
                self.push_container(Kind::Object, Vec::new())
            }
            b'R' => {
                let (arguments, class) = (self.stack.pop()?, self.stack.pop()?);
                let items = &self.container_of(arguments, Kind::Tuple)?.items;
                let [Value::Whole(member)] = items[..] else {
                    return Err(Refused::Object("a call"));
                };
                let member = u8::try_from(member).ok().filter(|member| *member <= classes.highest);
                match member.filter(|_| self.uses(class, classes.member)) {
                    Some(member) => self.stack.push(Value::Member(member)),
                    None => Err(Refused::Object("a call")),
                }
            }
            _ => self.build(),
        }
    }

    /// Gives an object its state: a tuple of none and a dict.
    fn build(&mut self) -> Result<(), Refused> {
        let (state, object) = (self.stack.pop()?, self.stack.top()?);
        let items = &self.container_of(state, Kind::Tuple)?.items;
        let [Value::None, dict] = items[..] else { return Err(Refused::Object("its state")) };
        self.container_of(dict, Kind::Dict)?;
        let object = self.container_of(object, Kind::Object)?;
        if !object.items.is_empty() {
            return Err(Refused::Object("a second state"));
        }
        object.items.push(dict);
        Ok(())
    }

    fn reference(&mut self, module: Span, name: Span) -> Result<(), Refused> {
        let index = u32::try_from(self.references.len()).map_err(|_| Refused::CutOff)?;
        self.stack.push(Value::Reference(index))?;
        self.references.push(Reference { module, name, is_used: false });
        Ok(())
    }

    /// Returns `true` if `value` is a reference to `class`, which is then used.
    fn uses(&mut self, value: Value, class: (&str, &str)) -> bool {
        let Value::Reference(index) = value else { return false };
        let Some(found) = self.references.get_mut(index as usize) else { return false };
        let names = (found.module.text(self.pickle), found.name.text(self.pickle));
        found.is_used |= names == class;
        names == class
    }

    /// Reads up to a line feed.
    fn line(&mut self) -> Result<Span, Refused> {
        let length = self.pickle[self.at..].iter().position(|byte| *byte == b'\n');
        let span = self.span(length.ok_or(Refused::CutOff)? as u64)?;
        self.at += 1;
        std::str::from_utf8(span.of(self.pickle)).map_err(|_| Refused::NotJson("not UTF-8"))?;
        Ok(span)
    }

    /// Reads `length` bytes, without copying them.
    fn span(&mut self, length: u64) -> Result<Span, Refused> {
        let (start, left) = (self.at, self.pickle.len() - self.at);
        let len = usize::try_from(length).ok().filter(|len| *len <= left);
        let len = len.ok_or(Refused::CutOff)?;
        self.at += len;
        let position = |at| u32::try_from(at).map_err(|_| Refused::CutOff);
        Ok(Span { start: position(start)?, len: position(len)? })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let array = self.pickle[self.at..].first_chunk().ok_or(Refused::CutOff)?;
        self.at += N;
        Ok(*array)
    }
}

const OTHER_KIND: Refused = Refused::Malformed("a container of another kind was expected");

/// Checks that there is a value for each key.
fn even(items: Vec<Value>) -> Result<Vec<Value>, Refused> {
    let is_even = items.len().is_multiple_of(2);
    if is_even { Ok(items) } else { Err(Refused::Malformed("a key without a value")) }
}
