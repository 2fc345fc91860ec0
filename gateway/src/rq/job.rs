//! Writing a job for an rq worker: the fields of its hash.
//!
//! All workers of rq 0.7.1 to 1.16 take an uncompressed pickle of protocol 2 without memo. Times
//! have no fraction: with one, the worker of rq 0.7.1 ends. Empty times are left out: they end the
//! worker of rq 0.10.

use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;

use super::names::{DATA, ID, RESPONSE_KEY};
use crate::pickle::{Refused, Writer};

/// The texts of a job's hash, and its data.
#[derive(Debug)]
pub(super) struct JobFields {
    data: Vec<u8>,
    now: String,
    timeout: String,
    description: String,
}

/// The ids of a job, each unique.
#[derive(Debug, Clone)]
pub(super) struct JobIds {
    /// The job's own, in rq.
    pub(super) job: String,
    /// That of the call in it.
    pub(super) call: String,
    /// Where its worker pushes the answer.
    pub(super) response_key: String,
}

impl JobFields {
    /// Writes a call of `name` by `function`. `null` is sent as `{}`, as handlers of python-rpc
    /// expect an object.
    ///
    /// # Errors
    ///
    /// If the data have a value that a pickle of plain data cannot hold.
    pub(super) fn new(
        (function, name): (&str, &str),
        data: &RawValue,
        ids: &JobIds,
        timeout: Duration,
    ) -> Result<Self, Refused> {
        let mut writer = Writer::new();
        writer.mark().text(function)?.none().mark().text(name)?.dict();
        writer.text(DATA)?;
        match data.get() {
            "null" => writer.dict().end_dict(),
            _ => writer.json(data)?,
        };
        writer.text(ID)?.text(&ids.call)?.text(RESPONSE_KEY)?.text(&ids.response_key)?;
        writer.end_dict().tuple().dict().end_dict().tuple();
        Ok(Self {
            data: writer.finish(),
            now: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            // Rounded up: rq ends the worker's process after it.
            timeout: timeout.as_millis().div_ceil(1000).max(1).to_string(),
            description: format!("{name}, a job of Redcall"),
        })
    }

    /// Returns the fields of the hash, for the rq queue `queue`.
    pub(super) fn of<'a>(&'a self, queue: &'a str) -> [(&'static str, &'a [u8]); 7] {
        [
            ("data", &self.data),
            ("created_at", self.now.as_bytes()),
            ("enqueued_at", self.now.as_bytes()),
            ("origin", queue.as_bytes()),
            ("status", b"queued"),
            ("timeout", self.timeout.as_bytes()),
            ("description", self.description.as_bytes()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> JobIds {
        JobIds {
            job: "j".to_owned(),
            call: "818be308-ad89-48d5-938e-077919485399".to_owned(),
            response_key: "11111111-2222-4333-8444-555555555555".to_owned(),
        }
    }

    fn fields(data: &str) -> JobFields {
        fields_within(data, 300)
    }

    fn fields_within(data: &str, millis: u64) -> JobFields {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        let function = ("rpc.python_rq_backend.dispatch", "add");
        JobFields::new(function, &data, &ids(), Duration::from_millis(millis)).unwrap()
    }

    #[test]
    fn timeout_is_rounded_up_to_seconds() {
        for (millis, seconds) in [(0, "1"), (1000, "1"), (1001, "2"), (1999, "2"), (15_000, "15")] {
            assert_eq!(fields_within("{}", millis).timeout, seconds, "{millis} ms");
        }
    }

    #[test]
    fn data_are_the_recorded_bytes() {
        let recorded = include_str!("../../tests/vectors/rq/write.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let written: String = fields("{\"a\": 20, \"b\": 22}")
            .data
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(written, recorded[0]["pickle_hex"].as_str().unwrap());
    }

    #[test]
    fn null_is_sent_as_an_empty_object() {
        assert_eq!(fields("null").data, fields("{}").data);
    }

    #[test]
    fn times_have_no_fraction_and_no_field_is_empty() {
        let fields = fields("{}");
        let all = fields.of("default");
        for (name, value) in all {
            assert!(!value.is_empty(), "{name}");
        }
        let at = |name| String::from_utf8(all.iter().find(|f| f.0 == name).unwrap().1.into());
        assert_eq!(at("enqueued_at").unwrap().len(), "2026-11-30T06:42:23Z".len());
        assert_eq!(at("timeout").unwrap(), "1");
        assert_eq!(at("origin").unwrap(), "default");
    }
}
