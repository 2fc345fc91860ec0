//! Completions at a position of a line.

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::names::{Known, Names, kinds};
use super::parse::{options, verbs};

/// Operations on an instance, as in `cli/src/verbs/calls/service.rs`.
const TASKS: [&str; 4] = ["initialize", "execute", "terminate", "state"];

/// Completer for the line editor.
pub(super) struct Tab(pub(super) Names);

impl Helper for Tab {}
impl Highlighter for Tab {}
impl Hinter for Tab {
    type Hint = String;
}
impl Validator for Tab {}

impl Completer for Tab {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, offers) = offers(&line[..position], &self.0.known());
        let is_only = offers.len() == 1;
        let pair = |name: String| {
            let replacement = if is_only { format!("{name} ") } else { name.clone() };
            Pair { display: name, replacement }
        };
        Ok((start, offers.into_iter().map(pair).collect()))
    }
}

/// Returns the start of the last word of `line` and its completions.
fn offers(line: &str, known: &Known) -> (usize, Vec<String>) {
    let start = line.rfind(char::is_whitespace).map_or(0, |at| {
        let space = line[at..].chars().next().map_or(1, char::len_utf8);
        at + space
    });
    let (before, word) = line.split_at(start);
    let before: Vec<&str> = before.split_whitespace().collect();
    let mut offers = match before.as_slice() {
        [] => verbs(),
        [verb, ..] if word.starts_with("--") => options(verb),
        ["service", _, ..] if word.starts_with('@') => {
            known.instances.iter().map(|key| format!("@{key}")).collect()
        }
        ["call" | "wait" | "stream" | "command"] => known.jobs.iter().cloned().collect(),
        ["service"] => known.services.iter().cloned().collect(),
        ["service", _] => TASKS.map(str::to_owned).to_vec(),
        ["events" | "unfollow" | "publish"] => known.topics.iter().cloned().collect(),
        ["publish", _] => kinds().collect(),
        ["status" | "monitor" | "cancel"] => known.ids.iter().cloned().collect(),
        ["help"] => verbs(),
        _ => Vec::new(),
    };
    offers.retain(|offer| offer.starts_with(word));
    (start, offers)
}

#[cfg(test)]
mod tests {
    use redcall_client::Settings;

    use super::*;

    fn offered(line: &str) -> (usize, String) {
        let names = Names::of(&Settings::default());
        let mut known = names.known();
        known.jobs = ["add", "größe", "grow"].map(str::to_owned).into();
        known.services = ["counter".to_owned()].into();
        known.instances = ["user-42".to_owned()].into();
        known.ids = ["0199-a".to_owned()].into();
        known.topics.insert("device.7".to_owned());
        let (start, offers) = offers(line, &known);
        (start, offers.join(" "))
    }

    #[test]
    fn each_position_offers_its_completions() {
        for (line, start, offers) in [
            ("w", 0, "wait workers"),
            ("wait ", 5, "add grow größe"),
            ("wait gr", 5, "grow größe"),
            ("stream grö", 7, "größe"),
            ("  command\ta", 10, "add"),
            ("wait add ", 9, ""),
            ("service c", 8, "counter"),
            ("service counter e", 16, "execute"),
            ("service counter state @", 22, "@user-42"),
            ("service counter --ins", 16, "--instance"),
            ("events d", 7, "device.7"),
            ("publish device.7 em", 17, "emergency"),
            ("cancel 0", 7, "0199-a"),
            ("status ", 7, "0199-a"),
            ("help unf", 5, "unfollow"),
            ("wait grö\u{a0}", 11, ""),
            ("nothing ", 8, ""),
        ] {
            assert_eq!(offered(line), (start, offers.to_owned()), "{line:?}");
        }
    }
}
