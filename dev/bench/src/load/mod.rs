//! Load on an existing Redis and its workers.

pub(crate) mod call;
pub(crate) mod drain;
pub(crate) mod enqueue;

use redcall_client::{CallError, Client, RequestBuilder};
use serde_json::value::RawValue;
use tokio::task::JoinError;

/// The job to call.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Box<RawValue>,
    /// The queue; else that of the mapping.
    pub queue: Option<String>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It was interrupted; its calls are withdrawn.
    #[error("interrupted: the calls were cancelled")]
    Interrupted,
    /// The first call already failed.
    #[error("no call was answered")]
    NothingAnswered(#[source] CallError),
    /// Nothing could be queued.
    #[error("no job could be queued")]
    NothingQueued(#[source] CallError),
    /// A caller has panicked: a fault of ours, which must not count as throughput.
    #[error("a caller has panicked")]
    Panicked(#[from] JoinError),
}

/// Why data cannot be brought to a size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotPadded {
    /// The data is not an object, so it cannot have another field.
    #[error("only an object can be padded; give one as data, such as {{}}")]
    NoObject,
    /// It would have to shrink.
    #[error("the padded data has at least {least} bytes; name a larger size")]
    TooSmall {
        /// The smallest size that is possible.
        least: usize,
    },
}

impl Job {
    /// The same with data of `size` bytes: an object gets a field `padding`.
    ///
    /// # Errors
    ///
    /// [`NotPadded`]: the data is not an object, or has `size` bytes already.
    pub fn padded(mut self, size: usize) -> Result<Self, NotPadded> {
        let data = self.data.get().trim();
        let inner = data.strip_suffix('}').map(str::trim_end).ok_or(NotPadded::NoObject)?;
        let comma = if inner == "{" { "" } else { "," };
        let start = format!(r#"{inner}{comma}"padding":""#);
        let least = start.len() + r#""}"#.len();
        let missing = size.checked_sub(least).ok_or(NotPadded::TooSmall { least })?;
        let padded = format!(r#"{start}{}"}}"#, "x".repeat(missing));
        self.data = RawValue::from_string(padded).map_err(|_| NotPadded::NoObject)?;
        Ok(self)
    }

    fn request(&self, client: &Client) -> RequestBuilder {
        let request = client.request(&self.name).data(&self.data);
        match &self.queue {
            Some(queue) => request.queue(queue),
            None => request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(data: &str, size: usize) -> Result<String, NotPadded> {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let job = Job { name: "add".to_owned(), data, queue: None };
        job.padded(size).map(|job| job.data.get().to_owned())
    }

    #[test]
    fn data_is_padded_to_the_byte() {
        assert_eq!(padded(r#"{"a":1}"#, 25).unwrap(), r#"{"a":1,"padding":"xxxxx"}"#);
        assert_eq!(padded("{ }", 14).unwrap(), r#"{"padding":""}"#);
        assert_eq!(padded(r#"{"a":1}"#, 1_000_000).unwrap().len(), 1_000_000);
        assert_eq!(padded(r#"{"a":1}"#, 19), Err(NotPadded::TooSmall { least: 20 }));
        assert_eq!(padded("[1]", 100), Err(NotPadded::NoObject));
    }
}
