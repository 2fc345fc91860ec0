//! The answer to a command: writing ours, reading a device's.

use redcall_client::{Code, ResultKind};
use serde_json::value::RawValue;

use super::json::{members, quoted, whole};
use crate::door::Failure;

/// Our answer to a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply<'a> {
    pub(super) nonce: &'a str,
    pub(super) command: i64,
    pub(super) result: ResultKind,
    /// JSON.
    pub(super) data: &'a str,
    /// 0: none, 1: of the system, 2: of the command.
    pub(super) error_kind: u8,
    pub(super) error_code: i32,
    pub(super) error_message: Option<&'a str>,
}

impl<'a> Reply<'a> {
    /// The answer of a worker.
    pub(super) fn of(nonce: &'a str, command: i64, result: ResultKind, data: &'a str) -> Self {
        let (error_kind, error_code, error_message) = (0, 0, None);
        Self { nonce, command, result, data, error_kind, error_code, error_message }
    }

    /// Returns the answer as JSON, with all members.
    pub(super) fn write(&self) -> String {
        let Self { nonce, command, data, error_kind, error_code, .. } = self;
        let result = self.result.number();
        let message = self.error_message.map_or_else(|| "null".to_owned(), quoted);
        format!(
            "{{\"nonce\": {nonce}, \"command\": {command}, \"result\": {result}, \
             \"data\": {data}, \"errorKind\": {error_kind}, \"errorCode\": {error_code}, \
             \"errorMessage\": {message}}}"
        )
    }
}

/// Reads the answer of a device to the command with `nonce`.
///
/// # Errors
///
/// The error that the answer reports. `None` if it is not an answer to this command.
pub(super) fn read(body: &[u8], nonce: &str) -> Result<Box<RawValue>, Option<Failure>> {
    let names = ["nonce", "result", "data", "errorCode", "errorMessage"];
    let text = std::str::from_utf8(body).map_err(|_| None)?;
    let [own, result, data, code, message] = members(text, names).ok_or(None)?;
    let number =
        result.and_then(whole).and_then(|digits| digits.parse::<u32>().ok()).ok_or(None)?;
    let kind = ResultKind::from_number(number);
    // A device that cannot read a command does not know its nonce.
    let is_unread = kind == Some(ResultKind::Unrecognized);
    let answered = own.and_then(whole);
    if answered != Some(nonce) && !(is_unread && answered.is_none_or(|own| own == "0")) {
        return Err(None);
    }
    let failed = |code| {
        let known = message.and_then(|text| serde_json::from_str::<String>(text.get()).ok());
        let shown = known.unwrap_or_else(|| format!("the device answered {number}"));
        Some(Failure::new(code, shown))
    };
    let error = match kind {
        Some(ResultKind::Success | ResultKind::Deferred | ResultKind::DeferredWithNotification) => {
            return Ok(data.unwrap_or(RawValue::NULL).to_owned());
        }
        Some(ResultKind::Unrecognized) => failed(Code::UnknownJob),
        Some(ResultKind::Exception) => failed(Code::HandlerPanicked),
        Some(ResultKind::Unavailable) => failed(Code::Unavailable),
        Some(ResultKind::Failed) | None => failed(Code::HandlerFailed),
    };
    let code = code.and_then(whole).unwrap_or("0");
    Err(error.map(|error| error.with_data(format!("{{\"errorCode\": {code}}}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_has_all_members_in_the_recorded_form() {
        let reply = Reply::of("4", 99_999, ResultKind::Success, r#"{"seen": true}"#);
        let recorded = concat!(
            r#"{"nonce": 4, "command": 99999, "result": 100, "data": {"seen": true}, "#,
            r#""errorKind": 0, "errorCode": 0, "errorMessage": null}"#,
        );
        assert_eq!(reply.write(), recorded);
        assert_eq!(read(recorded.as_bytes(), "4").unwrap().get(), r#"{"seen": true}"#);
        let error_message = Some("no \"way\"\n");
        let failed = Reply { error_kind: 2, error_code: -32010, error_message, ..reply };
        assert!(
            failed.write().ends_with(
                r#""errorKind": 2, "errorCode": -32010, "errorMessage": "no \"way\"\n"}"#
            )
        );
    }

    #[test]
    fn answers_of_devices_have_codes() {
        let of = |result: &str| {
            let error = r#""errorCode": 5, "errorMessage": "no""#;
            let text = format!(r#"{{"nonce": 3, "command": 1, "result": {result}, {error}}}"#);
            read(text.as_bytes(), "3").map_err(Option::unwrap)
        };
        for result in ["100", "200", "201"] {
            assert_eq!(of(result).unwrap().get(), "null");
        }
        for (result, code) in [
            ("0", Code::UnknownJob),
            ("400", Code::HandlerFailed),
            ("500", Code::HandlerPanicked),
            ("9999", Code::Unavailable),
            ("7", Code::HandlerFailed),
        ] {
            let failure = of(result).unwrap_err();
            assert_eq!((failure.code, &*failure.message), (code, "no"), "{result}");
            assert_eq!(failure.data.unwrap().get(), r#"{"errorCode": 5}"#);
        }
        let unread = read(br#"{"nonce": 0, "result": 0}"#, "3").unwrap_err().unwrap();
        assert_eq!(unread.code, Code::UnknownJob);
        for wrong in
            [r#"{"nonce": 4, "result": 100}"#, r#"{"nonce": 3}"#, "[]", "", "{\"nonce\": 3"]
        {
            assert!(read(wrong.as_bytes(), "3").unwrap_err().is_none(), "{wrong}");
        }
    }
}
