//! The output of `--help`, recorded in the reference of the command line: users rely on it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::support::Ran;

/// Set to rewrite the document.
const UPDATE: &str = "REDCALL_UPDATE_GOLDEN";
/// The programs whose verbs, and their verbs, are recorded, too.
const PROGRAMS: [&str; 3] = ["redcall", "redcall-worker", "redcall-gateway"];
/// The document, below the repository's root.
const DOCUMENT: &str = "docs/reference/cli.md";
/// The lines around the recorded texts.
const MARKERS: [&str; 2] = ["<!-- recorded -->\n", "<!-- /recorded -->\n"];

/// Returns the verbs in a help text; `help` has no text of its own.
fn verbs(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let rows = lines.take_while(|line| !line.is_empty());
    // Further lines of a verb's description are indented deeper.
    let rows = rows.filter_map(|line| line.strip_prefix("  "));
    let names = rows.filter(|row| !row.starts_with(' ')).filter_map(|row| row.split(' ').next());
    names.filter(|name| *name != "help")
}

/// Returns the help texts of `program` and its verbs at every depth, in the order of the program,
/// each with its command.
async fn help_of(program: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(words) = open.pop() {
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = Ran::new(program, &args, &[].into()).await;
        let command = [&[program], &args[..words.len()]].concat().join(" ");
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{command}");
        let inner: Vec<&str> = verbs(&ran.stdout).collect();
        let inner = inner.iter().rev().map(|verb| [&words[..], &[(*verb).to_owned()]].concat());
        open.extend(inner);
        found.push((command, ran.stdout));
    }
    found
}

/// Formats the help texts as sections.
fn sections(helps: &[(String, String)]) -> String {
    let mut text = String::new();
    for (command, help) in helps {
        let _ = write!(text, "### `{command}`\n\n```text\n{}\n```\n\n", help.trim_end());
    }
    text
}

/// Returns the sections of `text` by command, each with its heading.
fn by_command(text: &str) -> BTreeMap<&str, &str> {
    let sections = text.split_inclusive("\n```\n\n");
    sections.map(|section| (section.lines().next().unwrap_or_default(), section)).collect()
}

/// Returns the lines by which two sections differ.
fn changes(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}\n"));
    let added = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}\n"));
    gone.chain(added).collect()
}

#[tokio::test]
async fn help_of_every_verb_is_as_recorded() {
    let mut helps = Vec::new();
    for program in PROGRAMS {
        helps.extend(help_of(program).await);
    }
    let printed = sections(&helps);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(DOCUMENT);
    let document = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = document.split_once(MARKERS[0]).unwrap();
    let (recorded, tail) = rest.split_once(MARKERS[1]).unwrap();
    if printed == recorded {
        return;
    }
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        let [begin, end] = MARKERS;
        std::fs::write(&path, format!("{head}{begin}{printed}{end}{tail}")).unwrap();
        return;
    }
    let (old, new) = (by_command(recorded), by_command(&printed));
    let mut report = String::new();
    for command in old.keys().chain(new.keys().filter(|command| !old.contains_key(*command))) {
        let text =
            |all: &BTreeMap<&str, &str>| all.get(command).copied().unwrap_or_default().to_owned();
        let (old, new) = (text(&old), text(&new));
        if old != new {
            let _ = write!(report, "{command}\n{}", changes(&old, &new));
        }
    }
    panic!(
        "the programs print something else than {DOCUMENT}:\n{report}\
         If that is meant, rewrite it and commit it:\n\
         {UPDATE}=1 cargo test -p redcall-tests --test suite help::"
    );
}

#[tokio::test]
async fn every_known_verb_is_found_in_the_help() {
    let helps = help_of("redcall").await;
    for verb in ["call", "queues", "bench call", "chaos", "dead purge", "service execute"] {
        let command = format!("redcall {verb}");
        assert!(helps.iter().any(|(found, _)| *found == command), "{command}");
    }
}

#[tokio::test]
async fn verb_offers_only_flags_that_mean_something_to_it() {
    for verb in ["status", "stop"] {
        let help = Ran::new("redcall-worker", &[verb, "--help"], &[].into()).await.stdout;
        assert!(help.contains("--pid-file"), "{help}");
        for flag in ["--settings", "--queues", "--concurrency", "--name", "--log-file"] {
            assert!(!help.contains(flag), "{verb} offers {flag}: {help}");
            let ran = Ran::new("redcall-worker", &[verb, flag, "1"], &[].into()).await;
            assert_eq!(ran.code, 2, "{verb} takes {flag}: {ran:?}");
            let ran = Ran::new("redcall-worker", &[flag, "1", verb], &[].into()).await;
            assert_eq!(ran.code, 2, "{flag} is taken before {verb}: {ran:?}");
            ran.stderr_has(flag);
        }
        let file = ["--pid-file", "/nonexistent/pid"];
        let before = Ran::new("redcall-worker", &[&file[..], &[verb]].concat(), &[].into()).await;
        let after = Ran::new("redcall-worker", &[&[verb], &file[..]].concat(), &[].into()).await;
        assert_eq!((before.code, &before.stdout), (3, &after.stdout), "{before:?}");
    }
    let help = Ran::new("redcall", &["call", "--help"], &[].into()).await.stdout;
    let (own, global) = help.split_once("Global options:").unwrap();
    for flag in ["--settings", "--redis", "--json"] {
        assert!(global.contains(flag) && !own.contains(flag), "{help}");
    }
    assert!(own.contains("--wait") && !global.contains("--wait"), "{help}");
}
