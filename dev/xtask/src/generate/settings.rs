//! The reference of the settings file, from the structs that hold the settings: one table per
//! section, one row per key. The comment of a field is its description; a comment that begins with
//! `` `name`: `` names the key, where that is not the field's name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::tidy::files::SourceFile;

/// The sections in the order of the reference: heading, and the structs whose fields are its keys.
const SECTIONS: &[(&str, &[&str])] = &[
    ("[redis]", &["RedisSettings"]),
    ("[client]", &["ClientSettings"]),
    ("[worker]", &["WorkerSettings"]),
    ("[jobs.NAME]", &["HandlerSettings", "JobSettings", "ProcessSettings", "ProgramEnv"]),
    ("[jobs.NAME] http", &["HttpSettings"]),
    ("[jobs.NAME] retries", &["Retries"]),
    ("[jobs.NAME] limit", &["Limit"]),
    ("[pools.NAME]", &["PoolSettings", "ProcessSettings", "ProgramEnv"]),
    ("[services.NAME]", &["ServiceTasks", "ServiceSettings", "ProcessSettings", "ProgramEnv"]),
    ("[schedules.NAME]", &["ScheduleSettings"]),
    ("[queues.NAME]", &["QueueSettings"]),
    ("[auth]", &["AuthSettings"]),
    ("[auth.keys.NAME]", &["AuthKey"]),
    ("[limits]", &["Limits"]),
    ("[dead]", &["DeadSettings"]),
    ("[events]", &["EventSettings"]),
    (
        "[gateways.NAME]",
        &["GatewaySettings", "InwardSettings", "OutwardSettings", "ListeningSettings"],
    ),
    ("[gateways.NAME] tls", &["TlsSettings"]),
    ("[gateways.NAME] protocol = \"rq\"", &["RqSettings"]),
    ("[gateways.NAME] protocol = \"pm\"", &["PmRole", "PmSettings"]),
    ("[gateways.NAME] protocol = \"grpc-avro\"", &["GrpcAvroSettings"]),
    ("[gateways.NAME.methods.X]", &["GrpcMethod"]),
    ("[gateways.NAME] protocol = \"zmtp\"", &["ZmtpSettings"]),
    ("[gateways.NAME] protocol = \"bgpy\"", &["BgpySettings"]),
    ("[admin]", &["AdminSettings"]),
    ("[log]", &["LogSettings"]),
];

/// Fields without a key of their own, by struct.
const SKIPPED: &[(&str, &str)] = &[
    ("AuthSettings", "keys"),
    ("GatewaySettings", "inward"),
    ("GatewaySettings", "listening"),
    ("GatewaySettings", "outward"),
    ("JobSettings", "env"),
    ("JobSettings", "kind"),
    ("JobSettings", "limit"),
    ("JobSettings", "rerun_named"),
    ("JobSettings", "retries"),
    ("ProcessSettings", "command"),
    ("ProcessSettings", "env"),
    ("RedisSettings", "skip_safety_warning"),
    ("RedisSettings", "url_named"),
    ("PmSettings", "role"),
    ("ServiceSettings", "tasks"),
];

/// Types that the type of a field does not show, by key.
const TYPES: &[(&str, &str)] = &[
    ("answer", BYTES),
    ("answers_max_bytes", BYTES),
    ("data", "any value"),
    ("frame", BYTES),
    ("max_bytes", BYTES),
    ("message", BYTES),
    ("methods", "tables, below"),
    ("request", BYTES),
    ("tasks", "list of three texts"),
];

const BYTES: &str = "bytes, such as `\"64MiB\"`";

/// Where the structs are.
const FOLDERS: &[&str] =
    &["common/src/settings/", "common/src/rules/limits.rs", "common/src/rules/durability.rs"];

/// Returns the reference as Markdown.
pub(super) fn reference(files: &[SourceFile]) -> String {
    let types = Types::of(files);
    let mut text = String::new();
    for (section, structs) in SECTIONS {
        let _ = write!(
            text,
            "### `{section}`\n\n| key | type | range | default | meaning |\n|---|---|---|---|---|\n"
        );
        for name in *structs {
            for row in types.rows(name) {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
        }
        text.push('\n');
    }
    text
}

/// A field or variant: its name, the type as it is written, its comment.
struct Field {
    name: String,
    kind: String,
    text: String,
    /// It is one of several keys of which a table has one.
    is_choice: bool,
}

/// The structs and enums of the settings by name.
struct Types(BTreeMap<String, Vec<Field>>);

impl Types {
    fn of(files: &[SourceFile]) -> Self {
        let mut types = BTreeMap::new();
        let own = files.iter().filter(|file| {
            file.has_extension("rs") && FOLDERS.iter().any(|folder| file.path.starts_with(folder))
        });
        for file in own {
            let Ok(syntax) = syn::parse_file(&file.text) else { continue };
            for item in syntax.items {
                match item {
                    syn::Item::Struct(item) => {
                        types.insert(item.ident.to_string(), fields(&item.fields));
                    }
                    syn::Item::Enum(item) => {
                        types.insert(item.ident.to_string(), variants(&item));
                    }
                    _ => {}
                }
            }
        }
        Self(types)
    }

    fn rows(&self, name: &str) -> Vec<[String; 5]> {
        let is_key = |field: &&Field| !SKIPPED.contains(&(name, field.name.as_str()));
        let fields = self.0.get(name).into_iter().flatten().filter(is_key);
        fields.map(|field| self.row(field)).collect()
    }

    fn row(&self, field: &Field) -> [String; 5] {
        let (key, text) = match field.text.strip_prefix('`').and_then(|rest| rest.split_once("`: "))
        {
            Some((key, text)) => (key, text),
            None => (field.name.as_str(), field.text.as_str()),
        };
        let key = key.split_once(" = ").map_or(key, |(key, _)| key);
        let (text, default) = match default_of(text) {
            (text, _) if field.is_choice => (text, "one of them is required".to_owned()),
            with_default => with_default,
        };
        // A path has the name of a limit.
        let known = TYPES.iter().find(|(of, _)| *of == key && field.kind != "PathBuf");
        let kind = known.map_or_else(|| self.kind(&field.kind), |(_, kind)| (*kind).to_owned());
        let (text, range) = range_of(&text);
        [format!("`{key}`"), kind, range, default, cell(&text)]
    }

    /// Returns the type as the settings file has it.
    fn kind(&self, kind: &str) -> String {
        let inner =
            kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(kind);
        let known = match inner {
            "String" | "PathBuf" | "SocketAddr" | "Secret" => "text",
            "u32" | "u64" | "usize" => "whole number",
            "bool" => "true or false",
            "Duration" => "time, such as `\"500ms\"`",
            "Rate" => "rate, such as `\"10/s\"`",
            "Vec<String>" | "Vec<SocketAddr>" => "list of texts",
            "Vec<u32>" => "list of numbers",
            "Vec<Code>" => "list of codes",
            "BTreeMap<String,String>" | "BTreeMap<i64,String>" => "table of texts",
            "HttpSettings" | "TlsSettings" => "table, below",
            "ProcessSettings" => "list of texts",
            _ => "",
        };
        let choices = self.0.get(inner).into_iter().flatten().map(|variant| {
            let quoted = variant.text.strip_prefix('`').and_then(|rest| rest.split_once('`'));
            match quoted.and_then(|(choice, _)| choice.split_once(" = ")) {
                Some((_, value)) => format!("`{value}`"),
                None => format!("`\"{}\"`", variant.name.to_lowercase()),
            }
        });
        match known {
            "" => choices.collect::<Vec<_>>().join(", "),
            known => known.to_owned(),
        }
    }
}

fn fields(fields: &syn::Fields) -> Vec<Field> {
    let public = fields.iter().filter_map(|field| {
        let name = field.ident.as_ref()?.to_string();
        Some(Field {
            name,
            kind: written(&field.ty),
            text: comment(&field.attrs),
            is_choice: false,
        })
    });
    public.collect()
}

/// Returns the variants of an enum; of a variant with named fields, such as the tasks of a service,
/// these fields.
fn variants(item: &syn::ItemEnum) -> Vec<Field> {
    let all = item.variants.iter().flat_map(|variant| match &variant.fields {
        named @ syn::Fields::Named(_) => fields(named),
        others => vec![Field {
            name: variant.ident.to_string(),
            kind: others.iter().next().map_or_else(String::new, |field| written(&field.ty)),
            text: comment(&variant.attrs),
            is_choice: true,
        }],
    });
    all.collect()
}

/// Returns a type as it is written, without spaces.
fn written(kind: &syn::Type) -> String {
    let syn::Type::Path(path) = kind else { return String::new() };
    let Some(last) = path.path.segments.last() else { return String::new() };
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(inner) => {
            let inner = inner.args.iter().filter_map(|argument| match argument {
                syn::GenericArgument::Type(kind) => Some(written(kind)),
                _ => None,
            });
            format!("<{}>", inner.collect::<Vec<_>>().join(","))
        }
        _ => String::new(),
    };
    format!("{}{inner}", last.ident)
}

fn comment(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else {
            return None;
        };
        pair.path.is_ident("doc").then(|| text.value().trim().to_owned())
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// Splits a description into the rest and its default.
fn default_of(text: &str) -> (String, String) {
    let Some(at) = text.find("Default") else { return (text.to_owned(), "required".to_owned()) };
    let (before, rest) = text.split_at(at);
    let rest = rest.trim_start_matches("Default").trim_start_matches([':', ' ']);
    let (default, after) = match rest.split_once(". ") {
        Some((default, after)) => (default, after),
        None => (rest.trim_end_matches('.'), ""),
    };
    (format!("{}{after}", before).trim().to_owned(), cell(default))
}

/// Splits a description into the rest and its range, such as `1 ms to 1 year`; empty without one.
fn range_of(text: &str) -> (String, String) {
    for (at, comma) in text.match_indices(", ") {
        let rest = &text[at + comma.len()..];
        let (range, after) = rest.split_at(end_of_clause(rest));
        if !range.starts_with(|first: char| first.is_ascii_digit()) || !range.contains(" to ") {
            continue;
        }
        let (mut range, mut after) = (range.to_owned(), after);
        if let Some(unlimited) = after.strip_prefix("; 0 for ") {
            let (meaning, rest) = unlimited.split_at(end_of_clause(unlimited));
            let _ = write!(range, "; 0 for {meaning}");
            after = rest;
        }
        return (format!("{}{after}", &text[..at]), range);
    }
    (text.to_owned(), String::new())
}

/// Returns where the first clause of `text` ends: before a mark and a space, or the last mark.
fn end_of_clause(text: &str) -> usize {
    let is_end = |at: usize| text[at + 1..].is_empty() || text[at + 1..].starts_with(' ');
    let marks = text.match_indices(['.', ',', ';', ':']).map(|(at, _)| at);
    marks.into_iter().find(|at| is_end(*at)).unwrap_or(text.len())
}

/// Returns text for a cell: links of the code become plain names.
fn cell(text: &str) -> String {
    let base_dir = "[`crate::settings::Settings::base_dir`]";
    let text = text.replace(base_dir, "the folder of the settings file");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        let last = name.rsplit("::").next().unwrap_or(name);
        plain.push_str(before);
        let _ = write!(plain, "`{}`", last.to_lowercase());
        rest = after;
    }
    plain.push_str(rest);
    plain.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_has_key_type_range_default_and_meaning() {
        let text = "/// `[client]`.\npub struct ClientSettings {\n/// How long a call may take, \
                    1 ms to 1 year. Default 30 s. A call\n/// may set another.\n\
                    pub timeout: Duration, }";
        let file = SourceFile::new("common/src/settings/a.rs", text);
        let text = reference(&[file]);
        let row = "| `timeout` | time, such as `\"500ms\"` | 1 ms to 1 year | 30 s | How long a \
                   call may take. A call may set another. |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn choices_and_links_are_written_as_in_the_file() {
        let text = "pub struct LogSettings {\n/// The form. Default [`LogFormat::Text`].\n\
                    pub format: LogFormat }\npub enum LogFormat {\n\
                    /// `format = \"text\"`: lines.\n\
                    Text,\n/// `format = \"json\"`: objects.\nJson }";
        let file = SourceFile::new("common/src/settings/a.rs", text);
        let row = "| `format` | `\"text\"`, `\"json\"` |  | `text` | The form. |";
        assert!(reference(&[file]).contains(row));
    }

    #[test]
    fn range_ends_at_its_clause() {
        let split = |text: &str| {
            let (rest, range) = range_of(text);
            format!("{rest}|{range}")
        };
        let size = "The bytes, 1 MiB to 1,024 GiB; 0 for no limit. Above it, some go.";
        assert_eq!(split(size), "The bytes. Above it, some go.|1 MiB to 1,024 GiB; 0 for no limit");
        let name = "The name, 1 to 64 characters of `[a-z.-]`.";
        assert_eq!(split(name), "The name.|1 to 64 characters of `[a-z.-]`");
        assert_eq!(split("Where it goes, from A to B."), "Where it goes, from A to B.|");
    }
}
