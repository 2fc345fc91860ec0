//! Datums of recorded sessions, and datums that must be refused.

use redcall_testkit::unhex;
use serde_json::value::RawValue;

use super::{ReadBounds, Schema, Unknown, read, write};

const BOUNDS: ReadBounds = ReadBounds { message: 4 << 20, json: 4 << 20 };

fn parsed(json: &str) -> Schema {
    Schema::parse(json, 64).unwrap()
}

fn template() -> Schema {
    parsed(include_str!("../../../tests/vectors/grpc_avro/TemplateInput.avsc"))
}

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn written(schema: &str, json: &str) -> Result<Vec<u8>, String> {
    write(&parsed(schema), raw(json), Unknown::Refused, 1 << 20).map_err(|error| error.to_string())
}

fn shown(schema: &str, datum: &[u8]) -> Result<String, String> {
    let shown = read(&parsed(schema), datum, BOUNDS);
    shown.map(|json| json.get().to_owned()).map_err(|error| error.to_string())
}

#[derive(serde::Deserialize)]
struct Vector<'a> {
    is: &'a str,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    datum_hex: &'a str,
}

/// Without the white space of the file.
fn compact(json: &str) -> String {
    let mut in_text = false;
    json.chars()
        .filter(|character| {
            in_text ^= *character == '"';
            in_text || !character.is_whitespace()
        })
        .collect()
}

#[test]
fn recorded_datums_are_read_and_written_byte_for_byte() {
    let file = include_str!("../../../tests/vectors/grpc_avro/accept.json");
    let vectors: Vec<Vector> = serde_json::from_str(file).unwrap();
    assert_eq!(vectors.len(), 11);
    for Vector { is, record, datum_hex } in vectors {
        let (record, datum) = (compact(record.unwrap().get()), unhex(datum_hex));
        assert_eq!(read(&template(), &datum, BOUNDS).unwrap().get(), record, "{is}");
        let again = write(&template(), raw(&record), Unknown::Refused, datum.len());
        assert_eq!(again.unwrap(), datum, "{is}");
    }
}

#[test]
fn inputs_of_the_refuse_table_are_refused() {
    let file = include_str!("../../../tests/vectors/grpc_avro/refuse.json");
    let vectors: Vec<Vector> = serde_json::from_str(file).unwrap();
    assert_eq!(vectors.len(), 14);
    for Vector { is, datum_hex, .. } in vectors {
        let refused = read(&template(), &unhex(datum_hex), BOUNDS);
        assert!(refused.is_err(), "{is}: {}", refused.unwrap());
    }
}

/// Also the last union branch: some readers accept a datum that ends before it.
#[test]
fn datum_cut_off_anywhere_is_refused() {
    let json = r#"{"hash":"h","id":7,"task":"MONITOR","status":"Error","task_args":{"ingest":true,
        "ingest_type":"x","daterange":"y","persistence":true}}"#;
    let datum = write(&template(), raw(json), Unknown::Refused, 100).unwrap();
    for end in 0..datum.len() {
        let error = read(&template(), &datum[..end], BOUNDS).unwrap_err().to_string();
        assert_eq!(error, format!("byte {end}: the datum ends here"));
    }
    let error = read(&template(), &[datum, vec![0]].concat(), BOUNDS).unwrap_err();
    assert!(error.to_string().contains("more bytes follow"), "{error}");
}

#[test]
fn faults_of_a_datum_are_named() {
    let long = [0xff; 10];
    let mut wide = [0xff; 10];
    wide[9] = 1;
    for (schema, datum, expected) in [
        (r#""boolean""#, &[2][..], "byte 1: a boolean is neither 0 nor 1"),
        (r#""long""#, &long, "byte 10: a number has more than 64 bits"),
        (r#""int""#, &wide, "byte 10: an int has more than 32 bits"),
        (r#""float""#, &[0, 0, 0xc0, 0x7f], "byte 4: a number is not finite"),
        (r#""double""#, &[0, 0, 0, 0, 0, 0, 0xf0, 0xff], "byte 8: a number is not finite"),
        (r#""string""#, &[1], "byte 1: a length is negative"),
        (r#""bytes""#, &[4, 0], "byte 1: the datum ends here"),
        (r#""string""#, &[2, 0xff], "byte 2: a text is not UTF-8"),
        (r#"["null"]"#, &[2], "byte 1: the union has no such branch"),
        (
            r#"{"type":"map","values":"null"}"#,
            &[4, 2, 97, 2, 97, 0],
            "byte 5: a map has a key twice",
        ),
        (r#"{"type":"array","items":"int"}"#, &[1, 4, 2, 0], "another size than it states"),
        (r#"{"type":"array","items":"int"}"#, &[1, 1, 2, 0], "byte 2: a length is negative"),
        (r#"{"type":"array","items":"int"}"#, &[1, 8, 2, 0], "byte 2: the datum ends here"),
    ] {
        let error = shown(schema, datum).unwrap_err();
        assert!(error.contains(expected), "{schema}: {error}");
    }
}

/// Few bytes can announce many items that have none.
#[test]
fn items_without_bytes_count_against_the_message() {
    let bounds = ReadBounds { message: 1000, json: 1 << 30 };
    let schema = parsed(r#"{"type":"array","items":"null"}"#);
    let datum = |count: i64| [hex_long(count), vec![0]].concat();
    assert!(read(&schema, &datum(997), bounds).is_ok());
    let refused = read(&schema, &datum(998), bounds).unwrap_err();
    assert!(refused.to_string().contains("too large"), "{refused}");
    assert!(read(&schema, &datum(i64::MAX), bounds).is_err());
    // A negative count comes with a size.
    assert!(read(&schema, &[hex_long(i64::MIN), vec![0, 0]].concat(), bounds).is_err());
}

fn hex_long(number: i64) -> Vec<u8> {
    written(r#""long""#, &number.to_string()).unwrap()
}

/// Named types can be used twice on each of many levels, which no datum has to pay for.
#[test]
fn records_without_bytes_end_at_the_bound_of_json() {
    let mut schema = r#"{"type":"record","name":"r0","fields":[]}"#.to_owned();
    for level in 1..30 {
        schema = format!(
            r#"{{"type":"record","name":"r{level}","fields":[
                {{"name":"a","type":{schema}}},{{"name":"b","type":"r{}"}}]}}"#,
            level - 1
        );
    }
    let bounds = ReadBounds { message: 1000, json: 100_000 };
    let refused = read(&parsed(&schema), &[], bounds).unwrap_err();
    assert!(refused.to_string().contains("too large"), "{refused}");
}

#[test]
fn datum_over_a_bound_is_refused() {
    let small = ReadBounds { message: 3, json: 3 };
    let refused = |schema: &str, datum: &[u8]| read(&parsed(schema), datum, small).unwrap_err();
    assert!(refused(r#""bytes""#, &[6, 0, 0, 0]).to_string().contains("too large"));
    assert!(refused(r#""string""#, &[4, 97, 97]).to_string().contains("too large"));
    let error = write(&parsed(r#""string""#), raw(r#""aaaa""#), Unknown::Refused, 4).unwrap_err();
    assert!(error.is_too_large(), "{error}");
    let many = r#"{"type":"array","items":{"type":"record","name":"r","fields":[
        {"name":"a","type":"string","default":"aaaaaaaaaaaaaaaaaaaaaaaa"}]}}"#;
    let error = write(&parsed(many), raw("[{},{},{},{},{}]"), Unknown::Refused, 60).unwrap_err();
    assert!(error.is_too_large(), "{error}");
}

#[test]
fn numbers_keep_their_value_or_are_refused() {
    assert_eq!(written(r#""int""#, "-2147483648").unwrap(), unhex("ffffffff0f"));
    assert_eq!(written(r#""int""#, "2147483648").unwrap_err(), "the number does not fit into int");
    assert_eq!(written(r#""long""#, "9223372036854775807").unwrap().len(), 10);
    assert!(written(r#""long""#, "9223372036854775808").is_err());
    assert!(written(r#""int""#, "1.0").is_err());
    assert!(written(r#""double""#, "1e400").is_err());
    assert!(written(r#""float""#, "1e39").is_err());
    let float = written(r#""float""#, "0.1").unwrap();
    assert_eq!(shown(r#""float""#, &float).unwrap(), "0.1");
    let double = written(r#""double""#, "-0.0").unwrap();
    assert_eq!(shown(r#""double""#, &double).unwrap(), "-0.0");
}

#[test]
fn branch_of_a_union_is_chosen_by_the_value_in_order() {
    let three = r#"["null","string",{"type":"enum","name":"e","symbols":["A"]},"bytes","double",
        "long",{"type":"map","values":"int"},{"type":"array","items":"int"}]"#;
    for (value, branch) in [
        ("null", 0),
        (r#""A""#, 1),
        ("1.5", 4),
        ("1", 5),
        ("9223372036854775808", 4),
        ("{}", 6),
        ("[]", 7),
    ] {
        assert_eq!(written(three, value).unwrap()[0], branch * 2, "{value}");
    }
    let texts = r#"["bytes",{"type":"fixed","name":"f","size":2},
        {"type":"enum","name":"e","symbols":["AB"]}]"#;
    for (value, branch) in [(r#""AB""#, 2), (r#""xy""#, 0)] {
        assert_eq!(written(texts, value).unwrap()[0], branch * 2, "{value}");
    }
    let numbers = r#"["float","double","int"]"#;
    for (value, branch) in [("0.1", 0), ("0.12345678901", 1), ("1e300", 1), ("7", 2), ("3e9", 0)] {
        assert_eq!(written(numbers, value).unwrap()[0], branch * 2, "{value}");
    }
    let error = written(r#"["null","int"]"#, r#""x""#).unwrap_err();
    assert_eq!(error, "no branch of the union takes a text");
}

#[test]
fn records_of_a_union_are_told_apart_by_their_fields() {
    let schema = r#"[{"type":"record","name":"a","fields":[{"name":"x","type":"int"}]},
        {"type":"record","name":"b","fields":[{"name":"x","type":"string"}]},
        {"type":"map","values":["null","a"]}]"#;
    for (value, branch) in [(r#"{"x":1}"#, 0), (r#"{"x":"1"}"#, 1), (r#"{"y":{"x":1}}"#, 2)] {
        let datum = written(schema, value).unwrap();
        assert_eq!((datum[0], shown(schema, &datum).unwrap()), (branch * 2, value.to_owned()));
    }
}

#[test]
fn exact_fit_of_the_parts_comes_before_the_order_of_branches() {
    let schema = r#"[{"type":"map","values":"double"},
        {"type":"record","name":"r","fields":[{"name":"x","type":"int"}]}]"#;
    for (value, branch) in [(r#"{"x":1}"#, 1), (r#"{"x":1.0}"#, 0), (r#"{"y":1}"#, 0)] {
        assert_eq!(written(schema, value).unwrap()[0], branch * 2, "{value}");
    }
}

/// Two records on each of many levels, and a fault at the bottom: each level doubles the tries.
#[test]
fn search_for_branches_ends() {
    let mut schema = r#""int""#.to_owned();
    let (mut value, mut end) = (String::new(), "}".to_owned());
    for level in 0..25 {
        let record = |name: &str, schema: &str| {
            format!(
                r#"{{"type":"record","name":"{name}{level}","fields":[
                    {{"name":"x","type":{schema}}}]}}"#
            )
        };
        // The second one refers to the types that the first has defined.
        let again = if level == 0 { schema.clone() } else { references(level - 1) };
        schema = format!("[{},{}]", record("a", &schema), record("b", &again));
        value.push_str(r#"{"x":"#);
        end.push('}');
    }
    let value = format!("{value}true{}", &end[1..]);
    let error = written(&schema, &value).unwrap_err();
    assert!(error.contains("too many branches"), "{error}");
}

fn references(level: usize) -> String {
    format!(r#"["a{level}","b{level}"]"#)
}

#[test]
fn fields_are_written_by_name_with_defaults() {
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"a","type":"int"},
        {"name":"b","type":["null","int"],"default":null},
        {"name":"c","type":{"type":"array","items":"bytes"},"default":["\u00ff"]}]}"#;
    assert_eq!(written(schema, r#"{"c":[],"a":1,"a":2}"#).unwrap(), [4, 0, 0]);
    assert_eq!(written(schema, r#"{"a":1}"#).unwrap(), [2, 0, 2, 2, 0xff, 0]);
    let error = written(schema, r#"{"b":1}"#).unwrap_err();
    assert_eq!(error, "a: the field is missing and has no default");
    let error = written(schema, r#"{"a":1,"aa":1}"#).unwrap_err();
    assert_eq!(error, "aa: the record has no such field");
    let error = written(schema, r#"{"a":1,"c":["x","\u0100"]}"#).unwrap_err();
    assert!(error.starts_with("c.1: the text has a character above"), "{error}");
    let ignored = write(&parsed(schema), raw(r#"{"a":1,"aa":1}"#), Unknown::Ignored, 99);
    assert_eq!(ignored.unwrap(), [2, 0, 2, 2, 0xff, 0]);
}

#[test]
fn key_of_a_map_stands_once() {
    let schema = r#"{"type":"map","values":"int"}"#;
    let error = written(schema, r#"{"a":1,"b":1,"\u0061":2}"#).unwrap_err();
    assert_eq!(error, "a: the map has this key twice");
}

#[test]
fn half_a_surrogate_pair_is_refused() {
    assert!(written(r#""string""#, r#""\ud83d""#).is_err());
    assert!(written(r#"{"type":"map","values":"int"}"#, r#"{"\ud83d":1}"#).is_err());
    assert_eq!(written(r#""string""#, r#""\ud83d\ude00\u0000""#).unwrap()[0], 10);
}

#[test]
fn names_are_resolved_within_namespaces() {
    let schema = r#"{"type":"record","name":"a.b.r","fields":[
        {"name":"x","type":{"type":"enum","name":"e","symbols":["A"]}},
        {"name":"y","type":"e"},
        {"name":"z","type":{"type":"record","name":"s","namespace":"c","fields":[
            {"name":"v","type":"a.b.e"},{"name":"w","type":{"type":"fixed","name":"f","size":1}}]}},
        {"name":"u","type":["null","c.f",{"type":{"type":"array","items":{"type":"e"}}}]}]}"#;
    let json = r#"{"x":"A","y":"A","z":{"v":"A","w":"."},"u":["A"]}"#;
    let datum = written(schema, json).unwrap();
    assert_eq!(datum, [0, 0, 0, b'.', 4, 2, 0, 0]);
    assert_eq!(shown(schema, &datum).unwrap(), json);
}

#[test]
fn invalid_schemas_are_refused_with_their_place() {
    let field = |of: &str| format!(r#"{{"type":"record","name":"r","fields":[{of}]}}"#);
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(64), "}".repeat(64));
    for (schema, expected) in [
        ("{", "it is not JSON"),
        ("7", "`type` is missing or has the wrong kind"),
        (r#""integer""#, "`integer` is neither a type of Avro"),
        (r#"{"type":"array"}"#, "`items` is missing"),
        (r#"{"type":"enum","name":"e","symbols":[]}"#, "`symbols` is missing"),
        (r#"{"type":"enum","name":"e","symbols":["A","A"]}"#, "`A` is defined twice"),
        (r#"{"type":"enum","name":"e","symbols":["a b"]}"#, "`a b` is not a valid name"),
        (r#"{"type":"fixed","name":"f","size":-1}"#, "`size` is missing"),
        (r#"{"type":"fixed","name":"int","size":1}"#, "`int` is not a valid name"),
        ("[]", "a union has no branches"),
        (r#"["int","int"]"#, "`int` is defined twice"),
        (r#"["int",["int"]]"#, "a union cannot be a branch"),
        (&deep, "it nests deeper than 64 levels"),
        (&field(r#"{"name":"x","type":"r"}"#), "r.x: `r` contains itself"),
        (&field(r#"{"name":"x","type":["null",{"type":"array","items":"r"}]}"#), "contains itself"),
        (&field(r#"{"name":"x","type":"int"},{"name":"x","type":"int"}"#), "r: `x` is defined"),
        (&field(r#"{"name":"x","type":"int","default":"1"}"#), "r.x: the default is not a value"),
        (&field(r#"{"name":"1","type":"int"}"#), "`1` is not a valid name"),
    ] {
        let error = Schema::parse(schema, 64).unwrap_err().to_string();
        assert!(error.contains(expected), "{schema}: {error}");
    }
    assert!(Schema::parse(r#"{"type":"array","items":"int"}"#, 2).is_ok());
}

/// References add the levels of their types.
#[test]
fn depth_of_a_schema_counts_references() {
    let mut fields = r#"{"name":"f0","type":{"type":"record","name":"r0","fields":[]}}"#.to_owned();
    for level in 1..64 {
        fields.push_str(&format!(
            r#",{{"name":"f{level}","type":{{"type":"record","name":"r{level}","fields":[
                {{"name":"x","type":"r{}"}}]}}}}"#,
            level - 1
        ));
    }
    let schema = format!(r#"{{"type":"record","name":"all","fields":[{fields}]}}"#);
    let error = Schema::parse(&schema, 64).unwrap_err().to_string();
    assert!(error.contains("nests deeper"), "{error}");
    assert!(Schema::parse(&schema, 65).is_ok());
}
