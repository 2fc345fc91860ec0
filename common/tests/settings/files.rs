//! Files that cannot be read or parsed.

use std::error::Error;

use redcall_common::settings::SettingsError;

use crate::Place;

#[test]
fn the_file_is_missing() {
    let help = "create it, or name another by --settings or REDCALL_SETTINGS";
    let expected = ("DIR/none.toml: there is no such file".to_owned(), help.to_owned());
    assert_eq!(Place::empty().refusal(Some("none.toml"), &[]), expected);
    assert_eq!(Place::empty().refusal(None, &[("REDCALL_SETTINGS", "none.toml")]), expected);
}

#[test]
fn missing_named_file_is_not_replaced_by_the_default() {
    let place = Place::with("redcall.toml", "");
    assert!(place.load(Some("none.toml"), &[]).is_err());
}

#[test]
fn the_file_is_a_directory() {
    let expected =
        |name: &str| (format!("DIR/{name}: is a directory"), "name the file in it".to_owned());
    let place = Place::empty();
    std::fs::create_dir(place.path("redcall.toml")).unwrap();
    std::fs::create_dir(place.path("conf")).unwrap();
    assert_eq!(place.refusal(None, &[]), expected("redcall.toml"));
    assert_eq!(place.refusal(Some("conf"), &[]), expected("conf"));
}

#[cfg(unix)]
#[test]
fn the_file_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with("redcall.toml", "");
    let file = place.path("redcall.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&file).is_ok() {
        return; // We are root, which may read every file.
    }
    let expected = (
        "DIR/redcall.toml: this user may not read it".to_owned(),
        "grant this process's user read access (chmod, chown)".to_owned(),
    );
    assert_eq!(place.refusal(None, &[]), expected);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_reported() {
    let place = Place::empty();
    std::os::unix::fs::symlink("gone.toml", place.path("redcall.toml")).unwrap();
    let (problem, _) = place.refusal(None, &[]);
    assert_eq!(problem, "DIR/redcall.toml: there is no such file");
}

#[test]
fn a_path_through_a_file_leads_nowhere() {
    let place = Place::with("a.toml", "");
    let error = place.load(Some("a.toml/b.toml"), &[]).unwrap_err();
    assert!(error.to_string().ends_with("a.toml/b.toml: cannot be read"), "{error}");
    assert!(error.source().is_some(), "the operating system's reason is kept");
}

#[test]
fn the_file_is_not_utf8() {
    let place = Place::with("redcall.toml", [0xff, 0xfe]);
    let expected = ("DIR/redcall.toml: is not UTF-8 text", "save it as UTF-8");
    assert_eq!(place.refusal(None, &[]), (expected.0.to_owned(), expected.1.to_owned()));
}

#[test]
fn the_file_is_of_no_known_kind() {
    for name in ["redcall.ini", "redcall"] {
        let expected = (
            format!("DIR/{name}: does not have the extension of a settings file"),
            "rename it to end in .toml, .yaml, .yml or .json".to_owned(),
        );
        assert_eq!(Place::with(name, "").refusal(Some(name), &[]), expected);
    }
}

#[track_caller]
fn malformed(kind: &str, text: &str, problem: &str) {
    let name = format!("a.{}", kind.to_lowercase());
    let refusal = Place::with(&name, text).refusal(Some(&name), &[]);
    let expected = (
        format!("DIR/{name}: is not valid {kind}: {problem}"),
        format!("correct the {kind} of this file"),
    );
    assert_eq!(refusal, expected);
}

#[test]
fn toml_is_malformed() {
    let twice = "[worker]\nlease = '1s'\nlease = '2s'\n";
    let long = "worker.concurrency = 99999999999999999999\n";
    malformed("TOML", "[worker]\nlease 5s\n", "line 2, column 7: key with no value, expected `=`");
    malformed("TOML", twice, "line 3, column 1: duplicate key");
    malformed("TOML", long, "number too large to fit in target type");
}

#[test]
fn yaml_is_malformed() {
    let open = "while parsing a flow sequence, expected ',' or ']' at byte 21 line 3 column 1";
    malformed("YAML", "worker:\n  queues: [a\n", open);
    let twice = "String(\"lease\"): duplicated key in mapping at byte 29 line 3 column 10";
    malformed("YAML", "worker:\n  lease: 1s\n  lease: 2s\n", twice);
    malformed("YAML", "a: 1\n---\nb: 2\n", "Got 2 YAML documents, expected 1");
}

#[test]
fn json_is_malformed() {
    let comma = "key must be a string at line 2 column 14";
    malformed("JSON", "{\n  \"worker\": {,}\n}", comma);
    malformed("JSON", "", "EOF while parsing a value at line 1 column 0");
}

#[test]
fn the_file_has_no_sections() {
    let expected = |name: &str| {
        let help = "write sections with keys, such as worker and its key concurrency";
        (format!("DIR/{name}: has no sections"), help.to_owned())
    };
    for (name, text) in [("a.yaml", "- worker\n"), ("a.yaml", "worker"), ("a.json", "null")] {
        assert_eq!(Place::with(name, text).refusal(Some(name), &[]), expected(name), "{text}");
    }
}

#[test]
fn a_syntax_error_does_not_show_the_password_of_its_line() {
    let place = Place::with("redcall.toml", "[redis]\nurl = \"redis://:sesame@cache\nprefix = 'x'");
    let error = place.load(None, &[]).unwrap_err();
    assert!(matches!(error, SettingsError::Syntax { .. }));
    assert!(error.to_string().contains("line 2"), "{error}");
    assert!(!format!("{error} {error:?} {}", error.help()).contains("sesame"));
    assert!(error.source().is_none());
}
