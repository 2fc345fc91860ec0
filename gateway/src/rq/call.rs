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

#[cfg(test)]
mod tests {
    use redcall_testkit::unhex;
    use serde_json::Value;

    use super::*;

    const FUNCTION: &str = "rpc.python_rq_backend.dispatch";
    const BOUNDS: Bounds = Bounds { bytes: 2 << 20, depth: 64 };

    fn accepted() -> Vec<(Value, Vec<u8>)> {
        let all = include_str!("../../tests/vectors/rq/accept.json");
        let all: Vec<Value> = serde_json::from_str(all).unwrap();
        let of = |vector: Value| {
            let forms =
                ["pickle_hex", "zlib_hex"].map(|form| unhex(vector[form].as_str().unwrap()));
            forms.map(|data| (vector.clone(), data))
        };
        all.into_iter().flat_map(of).collect()
    }

    #[test]
    fn recorded_calls_are_read() {
        for (vector, data) in accepted() {
            let call = Call::read(&data, FUNCTION, &BOUNDS).unwrap();
            assert_eq!(call.name, vector["job"]);
            assert_eq!(call.response_key, None);
        }
    }

    #[test]
    fn hostile_data_are_refused() {
        let all = include_str!("../../tests/vectors/rq/refuse.json");
        let all: Vec<Value> = serde_json::from_str(all).unwrap();
        for vector in all {
            let data = unhex(vector["data_hex"].as_str().unwrap());
            match Call::read(&data, FUNCTION, &BOUNDS) {
                // A name without the form of one is a call of an unknown job.
                Ok(call) => assert_eq!(call.name, "a b\n", "{}", vector["is"]),
                Err(refused) => assert_ne!(refused.to_string(), "", "{}", vector["is"]),
            }
        }
    }

    #[test]
    fn call_of_another_function_is_refused() {
        for (_, data) in accepted() {
            let refused = Call::read(&data, "os.system", &BOUNDS).unwrap_err();
            assert_eq!(refused, Refused::Shape("a call of another function"));
        }
    }

    #[test]
    fn damaged_data_are_refused_or_read_as_a_whole_call() {
        let seed = 7;
        let mut random = fastrand::Rng::with_seed(seed);
        for (_, data) in accepted() {
            for _ in 0..200 {
                let mut damaged = data.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..damaged.len());
                    damaged[at] = random.u8(..);
                }
                damaged.truncate(random.usize(damaged.len() / 2..=damaged.len()));
                if let Ok(call) = Call::read(&damaged, FUNCTION, &BOUNDS) {
                    assert!(call.response_key.is_none_or(|key| names::is_response_key(&key)));
                    assert!(serde_json::from_str::<Value>(call.data.get()).is_ok());
                }
            }
        }
    }
}
