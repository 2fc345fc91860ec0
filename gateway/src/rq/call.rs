//! The call in the data of a job.
//!
//! The data are the pickled tuple `(function, None, (name, envelope), {})`, compressed with zlib
//! since rq 0.10. The function is never called: it has to be the one of the settings.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::names::{self, DATA, ID, RESPONSE_KEY};
use crate::pickle::{Bounds, Node, Refused, inflate, read};

/// The first byte of a zlib stream with a window of 32 KiB. A pickle begins with 80 (hex).
const ZLIB: u8 = 0x78;

/// A call of python-rpc.
#[derive(Debug)]
pub(crate) struct Call {
    /// The foreign name of the job.
    pub(super) name: String,
    /// The data as JSON.
    pub(super) data: Box<RawValue>,
    /// Where the caller waits for the answer; none if it does not wait.
    pub(super) response_key: Option<String>,
}

impl Call {
    /// Reads the data of a job.
    ///
    /// # Errors
    ///
    /// Why it is not a call of `function`, or not within the bounds.
    pub(crate) fn read(data: &[u8], function: &str, bounds: &Bounds) -> Result<Self, Refused> {
        let pickle = match data.first() {
            Some(&ZLIB) => Cow::Owned(inflate(data, bounds.bytes)?),
            _ => Cow::Borrowed(data),
        };
        let document = read(&pickle, bounds)?;
        let call = document.call()?;
        if call.function != function {
            return Err(Refused::Shape("a call of another function"));
        }
        let [name, envelope] = call.arguments[..] else {
            return Err(Refused::Shape("arguments other than a name and an envelope"));
        };
        let name = name.text().ok_or(Refused::Shape("a name that is not a text"))?;
        let member = |key| envelope.get(key).ok_or(Refused::Shape("an incomplete envelope"));
        member(ID)?.text().ok_or(Refused::Shape("an id that is not a text"))?;
        let json = member(DATA)?.json()?;
        let data = RawValue::from_string(json).map_err(|_| Refused::NotJson("the data"))?;
        let response_key = response_key(member(RESPONSE_KEY)?)?;
        Ok(Self { name: name.to_owned(), data, response_key })
    }
}

fn response_key(key: Node<'_>) -> Result<Option<String>, Refused> {
    if key.is_none() {
        return Ok(None);
    }
    match key.text() {
        Some(key) if names::is_response_key(key) => Ok(Some(key.to_owned())),
        _ => Err(Refused::Shape("a response key that is not a UUID in lower case")),
    }
}
