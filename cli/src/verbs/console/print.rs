//! Output while a line is being edited, one whole line at a time.

use redcall_client::{CallError, FrameStream, Response, ResultKind, Update};
use redcall_common::clean::{clean, clean_json};
use redcall_common::output::{self as out, Unwritten};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::output::one_line;
use crate::verbs::calls::call::{RAN, failed};
use crate::verbs::events::{Tailing, json_line, line};

/// Capacity of the queue to the terminal, lines; a full queue blocks its senders.
const LINES: usize = 256;

/// Destination of output lines.
#[derive(Clone)]
pub(super) enum Printer {
    /// Without a line editor. The channel gets the first failure of standard output.
    Stdout(mpsc::Sender<Unwritten>),
    /// Above the edited line, by a thread of its own: the line editor may block it.
    Editor(mpsc::Sender<String>),
}

impl Printer {
    /// Prints on standard output; the receiver gets its first failure.
    pub(super) fn direct() -> (Self, mpsc::Receiver<Unwritten>) {
        let (sender, failure) = mpsc::channel(1);
        (Self::Stdout(sender), failure)
    }

    /// Prints by `print`, which may block, on a thread that ends with the last printer.
    pub(super) fn editor(mut print: impl FnMut(String) + Send + 'static) -> Self {
        let (sender, mut lines) = mpsc::channel::<String>(LINES);
        std::thread::spawn(move || {
            while let Some(line) = lines.blocking_recv() {
                print(line + "\n");
            }
        });
        Self::Editor(sender)
    }

    pub(super) async fn line(&self, line: String) {
        match self {
            // The first failure ends the session; later ones are dropped.
            Self::Stdout(failed) => {
                let _ = out::line(line).map_err(|error| failed.try_send(error));
            }
            // The thread lives as long as this. Cleaned here: the line editor prints without
            // `output`.
            Self::Editor(lines) => drop(lines.send(clean_json(&line).into_owned()).await),
        }
    }
}

/// Prints an answer of this kind, such as `result`.
pub(super) fn answer(kind: &str, data: &RawValue, as_json: bool) -> Result<(), Unwritten> {
    let printed = match as_json {
        true => out::line(format_args!("{{\"{kind}\":{}}}", one_line(data.get()))),
        false => out::line(clean(data.get())),
    };
    printed.map_err(|error| error.after(RAN))
}

/// A command that was sent.
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) nonce: u64,
    pub(super) as_json: bool,
}

impl Sent {
    /// Formats an update as text or as JSON.
    pub(super) fn format(&self, what: &str, data: &str) -> String {
        let Self { name, nonce, as_json } = self;
        if *as_json {
            let name = serde_json::Value::from(name.as_str());
            return format!("{{\"nonce\":{nonce},\"command\":{name},\"{what}\":{data}}}");
        }
        format!("#{nonce} {} {what} {}", clean(name), clean(data))
    }

    /// Formats an update.
    fn update(&self, update: Update) -> String {
        let (what, data) = match update {
            Update::Restarted { attempt } => return self.format("restarted", &attempt.to_string()),
            Update::Pending => return self.format("pending", "null"),
            Update::Deferred { data, .. } => ("deferred", data),
            Update::Progress(data) => ("progress", data),
            Update::Chunk(data) => ("chunk", data),
            Update::Done(Response { data, .. }) => (ResultKind::Success.name(), data),
        };
        self.format(what, &one_line(data.get()))
    }

    fn error(&self, error: CallError) -> String {
        let kind = ResultKind::of(error.code()).name();
        let failure = failed(error);
        let error = &failure.json["error"];
        if self.as_json {
            return self.format(kind, &error.to_string());
        }
        let text = |field: &str| error[field].as_str().unwrap_or_default().replace('\n', " ");
        self.format(kind, &format!("{}: {}", text("code"), text("message")))
    }

    /// Prints all updates of the command; returns `true` if it succeeded.
    pub(super) async fn print(self, mut updates: FrameStream, printer: Printer) -> bool {
        while let Some(update) = updates.next().await {
            match update {
                Ok(update) => printer.line(self.update(update)).await,
                Err(error) => {
                    printer.line(self.error(error)).await;
                    return false;
                }
            }
        }
        true
    }
}

/// Prints the events of a topic.
pub(super) async fn events(topic: String, mut tailing: Tailing, printer: Printer, as_json: bool) {
    while let Some(item) = tailing.next().await {
        let text = match item {
            Ok(item) if as_json => {
                // A topic name needs no JSON escapes.
                format!("{{\"topic\":\"{topic}\",\"event\":{}}}", json_line(&item))
            }
            Ok(item) => format!("{topic}  {}", line(&item)),
            Err(failure) if as_json => {
                format!("{{\"topic\":\"{topic}\",\"error\":{}}}", failure.json["error"])
            }
            Err(failure) => {
                let message = failure.json["error"]["message"].as_str().unwrap_or_default();
                format!("{topic}  unsubscribed: {}", clean(message))
            }
        };
        printer.line(text).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(as_json: bool) -> Sent {
        Sent { name: "start".to_owned(), nonce: 3, as_json }
    }

    #[test]
    fn result_is_printed_on_one_line_with_its_nonce() {
        let data = RawValue::from_string("{\n\"on\": true}".to_owned());
        let data = data.unwrap_or_else(|error| panic!("{error}"));
        let update = || Update::Deferred { data: data.clone(), notify: false, until_ms: None };
        assert_eq!(sent(false).update(update()), "#3 start deferred { \"on\": true}");
        let json = "{\"nonce\":3,\"command\":\"start\",\"deferred\":{ \"on\": true}}";
        assert_eq!(sent(true).update(update()), json);
        let restarted = Update::Restarted { attempt: 2 };
        assert_eq!(sent(false).update(restarted), "#3 start restarted 2");
    }

    #[test]
    fn error_is_printed_with_kind_and_code() {
        let late = || CallError::TimedOut;
        let text = sent(false).error(late());
        assert!(text.starts_with("#3 start failed deadline_exceeded: "), "{text}");
        let text = sent(true).error(late());
        let text: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(text["failed"]["code"], "deadline_exceeded");
    }
}
