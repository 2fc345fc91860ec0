//! Events as messages: topics, bodies, dialects.

use redcall_client::{Event, Kind};
use redcall_common::settings::ZmtpDialect;
use serde_json::value::RawValue;

use super::json::{is_whole, members, quoted, seconds, whole};
use super::names::Names;

/// The kinds that are published as emergencies as well.
pub(super) const EMERGENCIES: [Kind; 2] = [Kind(101), Kind(102)];

/// An event of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceEvent {
    pub(super) kind: Kind,
    /// Unix time, ms.
    pub(super) when_ms: Option<u64>,
    /// The device's monotonic clock, ns.
    pub(super) index: Option<u64>,
    /// JSON.
    pub(super) context: String,
}

/// Returns the body of an event.
pub(super) fn body(event: &Event) -> String {
    let (kind, when, context) = (event.kind.0, seconds(event.when), event.context.get());
    let index = event.index.unwrap_or_default();
    format!("{{\"kind\": {kind}, \"when\": {when}, \"index\": {index}, \"context\": {context}}}")
}

/// Returns the body of a heartbeat at `now_ms`.
pub(super) fn heartbeat(identifier: &str, version: &str, now_ms: u64) -> String {
    let (identifier, version, now) = (quoted(identifier), quoted(version), seconds(now_ms));
    format!("{{\"identifier\": {identifier}, \"version\": {version}, \"timestamp\": {now}}}")
}

/// Returns the body of a command's result, from the event's context.
pub(super) fn command_result(context: &RawValue, names: &Names) -> Option<String> {
    let wanted = ["result", "data", "errorCode", "errorMessage", "command", "nonce"];
    let [result, data, code, message, command, nonce] = members(context.get(), wanted)?;
    let result = result.and_then(whole)?;
    let or_null = |value: Option<&RawValue>| value.map_or("null", RawValue::get).to_owned();
    let text = |value: Option<&RawValue>| serde_json::from_str::<String>(value?.get()).ok();
    let code = code.and_then(whole).unwrap_or("0");
    // A device's own result, relayed, has both as numbers.
    let number = |value: Option<&RawValue>| value.and_then(whole).map(str::to_owned);
    let job = || names.result_of(&text(command).unwrap_or_default()).to_string();
    let command = number(command).unwrap_or_else(job);
    let nonce = number(nonce).or_else(|| text(nonce).filter(|nonce| is_whole(nonce)));
    let nonce = nonce.unwrap_or_else(|| "0".to_owned());
    let (data, message) = (or_null(data), or_null(message));
    Some(format!(
        "{{\"result\": {result}, \"data\": {data}, \"errorCode\": {code}, \
         \"errorMessage\": {message}, \"command\": {command}, \"nonce\": {nonce}}}"
    ))
}

/// Returns the bytes of a body in the form of this dialect.
pub(super) fn in_dialect(body: String, dialect: ZmtpDialect) -> String {
    match dialect {
        ZmtpDialect::V0_9 => quoted(&body),
        ZmtpDialect::V0_12 => body,
    }
}

/// Reads an event of a device on the topic `number`; `None` if it does not parse.
pub(super) fn read(number: u32, body: &[u8]) -> Option<DeviceEvent> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let inner;
    let text = if text.starts_with('"') {
        inner = serde_json::from_str::<String>(text).ok()?;
        inner.trim()
    } else {
        text
    };
    let [kind, when, index, context] = members(text, ["kind", "when", "index", "context"])?;
    let kind = kind.and_then(whole).and_then(|kind| kind.parse().ok()).filter(|kind| *kind > 0);
    let when = when.and_then(|when| when.get().parse::<f64>().ok());
    let when_ms = when.map(|seconds| (seconds * 1000.0).round());
    // Below 2^53, so that no digit is lost; the clock of a device may be wrong, not absurd.
    let when_ms = when_ms.filter(|ms| (0.0..9.0e15).contains(ms)).map(|ms| ms as u64);
    let index = index.and_then(whole).and_then(|index| index.parse().ok());
    let context = context.map_or(text, RawValue::get).to_owned();
    Some(DeviceEvent { kind: Kind(kind.unwrap_or(number)), when_ms, index, context })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use redcall_client::EventId;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn event_has_the_recorded_form_and_is_read_again() {
        let context = raw(r#"{"id": "00000000-0000-0000-0000-000000000005", "neg": -3}"#);
        let (kind, when, index) = (Kind(1101), 1_682_467_200_000, Some(4_840_447_557_266));
        let id = EventId::default();
        let event = Event { id, kind, when, index, context, origin: None };
        let written = body(&event);
        let recorded = concat!(
            r#"{"kind": 1101, "when": 1682467200.0, "index": 4840447557266, "context": {"id": "#,
            r#""00000000-0000-0000-0000-000000000005", "neg": -3}}"#,
        );
        assert_eq!(written, recorded);
        for dialect in [ZmtpDialect::V0_9, ZmtpDialect::V0_12] {
            let read = read(4001, in_dialect(written.clone(), dialect).as_bytes()).unwrap();
            assert_eq!((read.kind, read.when_ms, read.index), (kind, Some(when), index));
            assert_eq!(read.context, event.context.get());
        }
        let beat = heartbeat("autotrainer-device", "0.12.0", 1_796_021_090_100);
        let recorded = concat!(
            r#"{"identifier": "autotrainer-device", "version": "0.12.0", "#,
            r#""timestamp": 1796021090.1}"#,
        );
        assert_eq!(beat, recorded);
        let read = read(1001, beat.as_bytes()).unwrap();
        assert_eq!((read.kind, read.when_ms, &*read.context), (Kind(1001), None, recorded));
        let quoted = in_dialect(r#"{"a":1}"#.to_owned(), ZmtpDialect::V0_9);
        assert_eq!(quoted, r#""{\"a\":1}""#);
    }

    #[test]
    fn bodies_that_do_not_parse_are_passed_over() {
        for wrong in [&b""[..], b"\xff", b"1", b"[]", b"{", b"\"{\"", b"\"\\\"{}\\\"\"", b"{}{}"] {
            assert_eq!(read(4001, wrong), None, "{wrong:?}");
        }
        let odd = read(7, br#"{"kind": "x", "when": -1, "index": 1.5}"#).unwrap();
        assert_eq!((odd.kind, odd.when_ms, odd.index), (Kind(7), None, None));
        assert_eq!(read(7, br#"{"when": 1e300}"#).unwrap().when_ms, None);
    }

    #[test]
    fn result_of_a_command_has_its_number_and_nonce() {
        let names = Names::new(&BTreeMap::from([(100, "start".to_owned())]), Some("command."));
        let of = |command: &str, nonce: &str| {
            let ended = r#""result":100,"errorCode":0,"errorMessage":null,"data":[1.50]"#;
            let context =
                raw(&format!(r#"{{"id":"x","nonce":{nonce},"command":{command},{ended}}}"#));
            command_result(&context, &names).unwrap()
        };
        let start = r#"{"result": 100, "data": [1.50], "errorCode": 0, "errorMessage": null, "#;
        assert_eq!(of("\"start\"", "\"7\""), format!(r#"{start}"command": 100, "nonce": 7}}"#));
        assert_eq!(of("\"command.42\"", "null"), format!(r#"{start}"command": 42, "nonce": 0}}"#));
        assert_eq!(of("\"add\"", "\"x7\""), format!(r#"{start}"command": 99999, "nonce": 0}}"#));
        assert_eq!(of("42", "7"), format!(r#"{start}"command": 42, "nonce": 7}}"#), "of a device");
        assert_eq!(command_result(&raw("[]"), &names), None);
    }
}
