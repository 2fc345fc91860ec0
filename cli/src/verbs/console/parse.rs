//! The verbs of a line, whose arguments are those of the command line, and splitting a line into
//! words.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, CommandFactory as _, Parser, Subcommand};
use redcall_client::Code;
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use super::shared::Shared;
use crate::verbs::calls::call::Call;
use crate::verbs::calls::service::Service;
use crate::verbs::events::{Publish, Tail, named};
use redcall_common::failure::{Failure, json};

/// Verbs of a line
#[derive(Parser)]
#[command(multicall = true, after_help = NOTES)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

const NOTES: &str = "\
Write data as JSON without quotes: wait add {\"a\": 1, \"b\": 2}. Text in single quotes is one word.
Tab completes, Ctrl-C cancels the current wait or clears the line, Ctrl-D ends the session.
`help VERB` shows the usage of a verb.";

/// A verb and its arguments.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Enqueue a job, fire and forget
    Call(Call),
    /// Call a job and print its answer
    #[command(mut_arg("wait", hide), mut_arg("stream", hide))]
    Wait(Call),
    /// Call a job and print progress as it arrives
    #[command(mut_arg("wait", hide), mut_arg("stream", hide))]
    Stream(Call),
    /// Send a command with the next nonce; its updates are printed as they arrive
    #[command(mut_arg("wait", hide), mut_arg("stream", hide))]
    Command(Call),
    /// Call an instance of a service, or print its state: service NAME execute DATA @INSTANCE
    Service(Service),
    /// Print the events of a topic as they arrive
    Events(Tail),
    /// Stop printing the events of a topic
    Unfollow {
        /// Topic
        #[arg(value_parser = named)]
        topic: String,
    },
    /// Publish an event
    Publish(Publish),
    #[command(flatten)]
    Shared(Shared),
    /// Set the timeout of later lines that have none, or print it
    Timeout {
        /// Such as 500ms, 30s, 10m; `default` restores each verb's own
        #[arg(value_parser = timeout)]
        time: Option<Timeout>,
    },
    /// End the session
    #[command(alias = "exit")]
    Quit,
}

/// Hides an option that the verb implies.
fn hide(option: Arg) -> Arg {
    option.hide(true)
}

/// Argument of `timeout`.
#[derive(Clone, Copy)]
pub(super) struct Timeout(pub(super) Option<Duration>);

fn timeout(text: &str) -> Result<Timeout, humantime::DurationError> {
    match text {
        "default" => Ok(Timeout(None)),
        _ => humantime::parse_duration(text).map(|time| Timeout(Some(time))),
    }
}

/// A parsed line.
pub(super) enum Parsed {
    /// An empty line or a comment.
    Nothing,
    /// A request for help, with its text.
    Help(String),
    Verb(Box<Verb>),
}

/// Parses a line.
pub(super) fn parse(line: &str) -> Result<Parsed, Failure> {
    if line.trim_start().starts_with('#') {
        return Ok(Parsed::Nothing);
    }
    let mut words = words(line).map_err(|why| wrong(&why, "`help` lists the verbs."))?;
    let Some(verb) = words.first() else { return Ok(Parsed::Nothing) };
    if verb == "service" {
        words.iter_mut().skip(2).for_each(instance);
    }
    if words.iter().skip(1).any(|word| word == "-") {
        return Err(wrong(
            "`-` (stdin) is not available here",
            "Write the data on the line, as JSON.",
        ));
    }
    match Line::try_parse_from(words) {
        Ok(line) => Ok(Parsed::Verb(Box::new(line.verb))),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Parsed::Help(error.to_string())),
        Err(error) => Err(unknown(&error)),
    }
}

/// `@KEY` is short for `--instance=KEY`.
fn instance(word: &mut String) {
    if let Some(key) = word.strip_prefix('@') {
        *word = format!("--instance={key}");
    }
}

/// Splits a line into words. JSON that begins with a brace, a bracket or a double quote is one
/// word, and so is text in single quotes.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let (word, rest_of_line) = match first {
            '\'' => {
                let quoted = rest[1..].split_once('\'');
                quoted.ok_or_else(|| "a single quote is not closed".to_owned())?
            }
            '{' | '[' | '"' => rest.split_at(json_ends(rest)?),
            _ => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        if rest_of_line.starts_with(|c: char| !c.is_whitespace()) {
            return Err(format!("expected a space after `{word}`"));
        }
        words.push(word.to_owned());
        rest = rest_of_line.trim_start();
    }
    Ok(words)
}

/// Returns the length of the JSON at the start of `text`.
fn json_ends(text: &str) -> Result<usize, String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match values.next() {
        Some(Err(error)) => Err(format!("the data are not valid JSON: {error}")),
        _ => Ok(values.byte_offset()),
    }
}

/// Converts a clap error to one sentence, with the usage as help.
fn unknown(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let usage = text.lines().find(|line| line.starts_with("Usage:")).map(str::to_owned);
    let usage = usage.unwrap_or_else(|| "`help` lists the verbs.".to_owned());
    let what = match text.strip_prefix("error: ") {
        Some(text) => {
            let sentence = text.split("\n\n").next().unwrap_or_default();
            sentence.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        None => "missing arguments".to_owned(),
    };
    wrong(&what, &usage)
}

fn wrong(what: &str, help: &str) -> Failure {
    let json = json(Code::InvalidRequest.as_str(), what);
    Failure { problems: vec![Problem::new(what).help(help)], code: 2, json }
}

/// Returns all verbs.
pub(super) fn verbs() -> Vec<String> {
    let line = Line::command();
    let verbs = line.get_subcommands().map(|verb| verb.get_name().to_owned());
    verbs.chain(["help".to_owned()]).collect()
}

/// Returns the options of a verb, with their dashes.
pub(super) fn options(verb: &str) -> Vec<String> {
    let mut line = Line::command();
    // Global options are known only after the build.
    line.build();
    let Some(verb) = line.find_subcommand(verb) else { return Vec::new() };
    let options = verb.get_arguments().filter(|option| !option.is_hide_set());
    options.filter_map(|option| option.get_long()).map(|name| format!("--{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        words(line).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    /// Returns the error of an invalid line.
    fn refused(line: &str) -> String {
        match parse(line) {
            Ok(_) => panic!("{line} is valid"),
            Err(failure) => failure.json["error"]["message"].as_str().unwrap_or("").to_owned(),
        }
    }

    #[test]
    fn data_need_no_shell_quotes() {
        let line = r#"  wait  add {"a": 1, "b": [2, " } "]}  --timeout 5s "#;
        let words = ["wait", "add", r#"{"a": 1, "b": [2, " } "]}"#, "--timeout", "5s"];
        assert_eq!(split(line), words);
        assert_eq!(split(r#"call x "two words \" here""#)[2], r#""two words \" here""#);
        assert_eq!(split(r#"call x '{"from": "a shell"}'"#)[2], r#"{"from": "a shell"}"#);
        assert_eq!(split("call größe [1, 2] -3.5"), ["call", "größe", "[1, 2]", "-3.5"]);
        assert_eq!(split(" \t "), [""; 0]);
    }

    #[test]
    fn incomplete_data_are_rejected() {
        assert!(refused(r#"call x {"a": 1"#).contains("not valid JSON: EOF"));
        assert!(refused(r#"call x {"a" 1}"#).contains("not valid JSON: expected `:`"));
        assert_eq!(refused("call x 'a"), "a single quote is not closed");
        assert_eq!(refused("call x {}y"), "expected a space after `{}`");
        assert_eq!(refused("call x -"), "`-` (stdin) is not available here");
    }

    #[test]
    fn invalid_verb_is_rejected_in_one_sentence() {
        assert_eq!(refused("cal x"), "unrecognized subcommand 'cal'");
        assert!(refused("service counter").contains("requires a subcommand"));
        assert!(refused("wait").contains("required arguments were not provided: <NAME>"));
        assert!(refused("timeout soon").contains("invalid value 'soon'"));
    }

    #[test]
    fn every_verb_is_parsed() {
        for (line, verb) in [
            ("call x", "call"),
            ("wait x -5", "wait"),
            ("stream x {}", "stream"),
            ("command start --queue device", "command"),
            ("service counter execute {\"by\": 1} @user-42", "service"),
            ("follow redcall:{default}:response:abc", "follow"),
            ("events 4001 --kind 7", "events"),
            ("unfollow event", "unfollow"),
            ("publish event 7 {\"a\": 1}", "publish"),
            ("status abc", "status"),
            ("monitor abc", "monitor"),
            ("cancel abc", "cancel"),
            ("queues", "queues"),
            ("workers", "workers"),
            ("timeout 5s", "timeout"),
            ("quit", "quit"),
        ] {
            assert!(matches!(parse(line), Ok(Parsed::Verb(_))), "{line}");
            assert!(verbs().contains(&verb.to_owned()), "{verb}");
        }
        let shared = Shared::augment_subcommands(clap::Command::new("shared"));
        assert_eq!(verbs().len(), 11 + shared.get_subcommands().count());
        assert!(matches!(parse("help"), Ok(Parsed::Help(text)) if text.contains("next nonce")));
        assert!(
            matches!(parse("help wait"), Ok(Parsed::Help(text)) if text.contains("Usage: wait"))
        );
        assert!(matches!(parse(" # a comment {"), Ok(Parsed::Nothing)));
    }

    #[test]
    fn at_sign_selects_the_instance() {
        let Ok(Parsed::Verb(verb)) = parse("service counter state @user-42") else {
            panic!("none")
        };
        let Verb::Service(service) = *verb else { panic!("another verb") };
        assert_eq!(service.named(), ("counter", "user-42"));
        assert!(
            refused("service counter state @a:b").contains("expected an instance key: at most 64")
        );
    }

    #[test]
    fn options_of_a_verb_are_listed() {
        assert!(options("service").contains(&"--instance".to_owned()));
        assert!(options("wait").contains(&"--queue".to_owned()));
        assert!(!options("wait").contains(&"--stream".to_owned()));
        assert!(options("none").is_empty());
    }

    #[test]
    fn table_of_verbs_is_consistent() {
        Line::command().debug_assert();
    }
}
