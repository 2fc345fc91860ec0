//! Writes pickles of protocol 2 without memo and frames, which every Python reads.

use serde_json::value::RawValue;

use super::number::{self, Work};
use super::refused::Refused;

/// Writes the instructions of one pickle, one value after the other.
///
/// ```
/// use redcall_gateway::pickle::Writer;
/// use serde_json::value::RawValue;
///
/// let data = RawValue::from_string(r#"{"a":[1,1.50,null]}"#.to_owned())?;
/// let mut writer = Writer::new();
/// writer.mark().text("add")?.json(&data)?.tuple(); // ("add", {"a": [1, 1.5, None]})
/// assert!(writer.finish().starts_with(b"\x80\x02(X\x03\0\0\0add}("));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    pickle: Vec<u8>,
    work: Work,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// Creates a writer that has written the protocol.
    #[must_use]
    pub fn new() -> Self {
        Self { pickle: vec![0x80, 2], work: Work::default() }
    }

    /// Writes none.
    pub fn none(&mut self) -> &mut Self {
        self.instruction(b'N')
    }

    /// Begins a tuple: the values up to [`Writer::tuple`] are its items.
    pub fn mark(&mut self) -> &mut Self {
        self.instruction(b'(')
    }

    /// Ends a tuple.
    pub fn tuple(&mut self) -> &mut Self {
        self.instruction(b't')
    }

    /// Makes a tuple of the last two values.
    pub fn pair(&mut self) -> &mut Self {
        self.instruction(0x86)
    }

    /// Begins a dict: the keys and values up to [`Writer::end_dict`] are its items.
    pub fn dict(&mut self) -> &mut Self {
        self.instruction(b'}').mark()
    }

    /// Ends a dict.
    pub fn end_dict(&mut self) -> &mut Self {
        self.instruction(b'u')
    }

    /// Writes a reference to a class.
    pub fn reference(&mut self, (module, name): (&str, &str)) -> &mut Self {
        self.instruction(b'c');
        for part in [module, name] {
            self.pickle.extend_from_slice(part.as_bytes());
            self.pickle.push(b'\n');
        }
        self
    }

    /// Makes an object of the reference before it, without arguments.
    pub fn new_object(&mut self) -> &mut Self {
        self.instruction(b')').instruction(0x81)
    }

    /// Makes the member of the enumeration before it that has this value.
    pub fn member(&mut self, value: u8) -> &mut Self {
        self.instruction(b'K').instruction(value).instruction(0x85).instruction(b'R')
    }

    /// Gives the object before the last value that value as its state.
    pub fn build(&mut self) -> &mut Self {
        self.instruction(b'b')
    }

    /// Writes a text.
    ///
    /// # Errors
    ///
    /// [`Refused::TooLarge`] if it has 4 GiB.
    pub fn text(&mut self, text: &str) -> Result<&mut Self, Refused> {
        self.sized(b'X', text.as_bytes())
    }

    /// Writes the value of a JSON text. A number with a fraction or an exponent becomes a float,
    /// any other one a whole number.
    ///
    /// # Errors
    ///
    /// If a number is too large, or a text holds half of a surrogate pair.
    pub fn json(&mut self, json: &RawValue) -> Result<&mut Self, Refused> {
        let json = json.get();
        let mut at = 0;
        while let Some(byte) = json.as_bytes().get(at) {
            let mut next = at + 1;
            match byte {
                b'{' => self.dict(),
                b'}' => self.end_dict(),
                b'[' => self.instruction(b']').mark(),
                b']' => self.instruction(b'e'),
                b'"' => {
                    next = end_of_text(json.as_bytes(), at);
                    let text: String = serde_json::from_str(&json[at..next])
                        .map_err(|_| Refused::NotJson("half of a surrogate pair"))?;
                    self.text(&text)?
                }
                b'n' | b't' | b'f' => {
                    next = end_of_token(json.as_bytes(), at);
                    self.instruction(match byte {
                        b'n' => b'N',
                        b't' => 0x88,
                        _ => 0x89,
                    })
                }
                b'-' | b'0'..=b'9' => {
                    next = end_of_token(json.as_bytes(), at);
                    self.number(&json[at..next])?
                }
                // Commas, colons and white space.
                _ => self,
            };
            at = next;
        }
        Ok(self)
    }

    /// Returns the pickle.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.pickle.push(b'.');
        self.pickle
    }

    fn number(&mut self, number: &str) -> Result<&mut Self, Refused> {
        if number.contains(['.', 'e', 'E']) {
            let float = number.parse().ok().filter(|float: &f64| float.is_finite());
            let float = float.ok_or(Refused::NotJson("a number that is not finite"))?;
            self.instruction(b'G').pickle.extend_from_slice(&float.to_be_bytes());
            return Ok(self);
        }
        if let Ok(small) = number.parse::<i32>() {
            self.instruction(b'J').pickle.extend_from_slice(&small.to_le_bytes());
            return Ok(self);
        }
        let bytes = number::from_decimal(number, &self.work)?;
        match u8::try_from(bytes.len()) {
            Ok(length) => {
                self.instruction(0x8a).instruction(length).pickle.extend_from_slice(&bytes);
                Ok(self)
            }
            Err(_) => self.sized(0x8b, &bytes),
        }
    }

    /// Writes an instruction with a length of 32 bits.
    fn sized(&mut self, instruction: u8, bytes: &[u8]) -> Result<&mut Self, Refused> {
        let length = u32::try_from(bytes.len());
        let length = length.map_err(|_| Refused::TooLarge(u32::MAX as usize))?;
        self.instruction(instruction).pickle.extend_from_slice(&length.to_le_bytes());
        self.pickle.extend_from_slice(bytes);
        Ok(self)
    }

    fn instruction(&mut self, instruction: u8) -> &mut Self {
        self.pickle.push(instruction);
        self
    }
}

/// Returns the end of a text that begins at `at`, after its quote.
fn end_of_text(json: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while let Some(byte) = json.get(next) {
        match byte {
            b'"' => return next + 1,
            b'\\' => next += 2,
            _ => next += 1,
        }
    }
    json.len()
}

/// Returns the end of a number or a constant that begins at `at`.
fn end_of_token(json: &[u8], at: usize) -> usize {
    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    json[at..].iter().position(is_end).map_or(json.len(), |length| at + length)
}
