//! A command of a console, and the command that we send to a device.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json::{members, whole};

/// The header with the number of a command.
pub(super) const COMMAND: &str = "command";

/// The number of a command that its device defines.
pub(super) const CUSTOM: i64 = 99_999;

/// A command as a console sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// Never 0.
    pub(super) number: i64,
    /// The number of a command 99999.
    pub(super) custom: Option<i64>,
    /// The console's id of it, a whole number of any size.
    pub(super) nonce: String,
    /// JSON.
    pub(super) data: String,
}

impl Command {
    /// Reads the frames after the delimiter.
    ///
    /// # Errors
    ///
    /// The nonce for the answer, if this is not a command.
    pub(super) fn read(body: &[Bytes]) -> Result<Self, String> {
        let zero = || "0".to_owned();
        let [body] = body else { return Err(zero()) };
        let text = std::str::from_utf8(body).map_err(|_| zero())?;
        let names = ["command", "customCommand", "nonce", "data"];
        let [number, custom, nonce, data] = members(text, names).ok_or_else(zero)?;
        let nonce = nonce.and_then(whole).map_or_else(zero, str::to_owned);
        let parsed = |value: Option<&RawValue>| value.and_then(whole)?.parse::<i64>().ok();
        match parsed(number) {
            None | Some(0) => Err(nonce),
            Some(number) => {
                let custom = parsed(custom).filter(|custom| number == CUSTOM && *custom >= 0);
                let data = data.map_or("null", RawValue::get).to_owned();
                Ok(Self { number, custom, nonce, data })
            }
        }
    }

    /// Returns a command for a device, as JSON. With `is_custom` the number is that of a command
    /// 99999.
    pub(super) fn write(number: i64, is_custom: bool, nonce: &str, data: &RawValue) -> String {
        let number = match is_custom && number != CUSTOM {
            true => format!("{CUSTOM}, \"customCommand\": {number}"),
            false => number.to_string(),
        };
        let data = match data.get() {
            "null" => String::new(),
            data => format!(", \"data\": {data}"),
        };
        format!("{{\"command\": {number}, \"nonce\": {nonce}{data}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, String> {
        Command::read(&[Bytes::copy_from_slice(text.as_bytes())])
    }

    #[test]
    fn command_is_read_with_its_values_unchanged() {
        let text = r#"{"command": 400, "nonce": 18446744073709551616, "data": {"A_b": -1.50}}"#;
        let command = read(text).unwrap();
        assert_eq!((command.number, command.custom), (400, None));
        assert_eq!(command.nonce, "18446744073709551616");
        assert_eq!(command.data, r#"{"A_b": -1.50}"#);
        let command = read(r#"{"command": 99999, "customCommand": 42, "nonce": "7"}"#).unwrap();
        assert_eq!((command.custom, &*command.nonce, &*command.data), (Some(42), "0", "null"));
        let command = read(r#"{"command": 5, "customCommand": 42}"#).unwrap();
        assert_eq!((command.number, command.custom), (5, None));
        assert_eq!(read(r#"{"command": 99999, "customCommand": -1}"#).unwrap().custom, None);
        let data = RawValue::from_string("[1.50]".to_owned()).unwrap();
        let write = |number, is_custom, data| Command::write(number, is_custom, "5", data);
        assert_eq!(write(4, false, &data), r#"{"command": 4, "nonce": 5, "data": [1.50]}"#);
        assert_eq!(write(4, false, RawValue::NULL), r#"{"command": 4, "nonce": 5}"#);
        let custom = write(42, true, RawValue::NULL);
        assert_eq!(custom, r#"{"command": 99999, "customCommand": 42, "nonce": 5}"#);
        assert_eq!(read(&custom).unwrap().custom, Some(42));
        assert_eq!(write(CUSTOM, true, RawValue::NULL), r#"{"command": 99999, "nonce": 5}"#);
    }

    /// All that is answered as unrecognized, with the nonce of the answer.
    #[test]
    fn input_that_is_not_a_command_has_the_nonce_of_its_answer() {
        let cases = [
            ("", "0"),
            ("hello", "0"),
            ("[1, 2]", "0"),
            ("null", "0"),
            ("{\"nonce\": 7", "0"),
            (r#"{"nonce": 7}"#, "7"),
            (r#"{"command": 0, "nonce": 7}"#, "7"),
            (r#"{"command": -0, "nonce": 7}"#, "7"),
            (r#"{"command": 1.0, "nonce": 7}"#, "7"),
            (r#"{"command": 1e2, "nonce": 7}"#, "7"),
            (r#"{"command": "100", "nonce": 7}"#, "7"),
            (r#"{"command": true, "nonce": 7}"#, "7"),
            (r#"{"command": null, "nonce": 7.5}"#, "0"),
            (r#"{"command": 99999999999999999999, "nonce": 7}"#, "7"),
            (r#"{"command": {"command": 1}, "nonce": [7]}"#, "0"),
            (r#"{"command": 100, "nonce": NaN}"#, "0"),
        ];
        for (text, nonce) in cases {
            assert_eq!(read(text), Err(nonce.to_owned()), "{text}");
        }
        assert_eq!(Command::read(&[Bytes::from_static(b"\xff{}")]), Err("0".to_owned()));
        let two = [&br#"{"command": 1}"#[..], b"{}"].map(Bytes::from_static);
        assert_eq!(Command::read(&two), Err("0".to_owned()));
        assert_eq!(Command::read(&[]), Err("0".to_owned()));
    }
}
