//! The keys and commands that a script uses, by `MONITOR`.

use std::collections::BTreeSet;
use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use redis::aio::MultiplexedConnection;

/// The message that ends a watch.
const END: &str = "end of the watch";

/// A connection that receives every command of the server.
pub(super) struct Watch(Pin<Box<dyn Stream<Item = String>>>);

/// The keys and commands of one script.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Names of the scripts that ran.
    pub(super) scripts: Vec<&'static str>,
    /// Keys that the script was given or has touched; no channels.
    pub(super) keys: BTreeSet<String>,
    /// Names of its commands, in lower case.
    pub(super) commands: BTreeSet<String>,
}

impl Watch {
    pub(super) async fn start(url: &str) -> Self {
        let monitor = redis::Client::open(url).unwrap().get_async_monitor().await.unwrap();
        Self(Box::pin(monitor.into_on_message()))
    }

    /// Returns the commands so far of the script of this name, over all connections.
    pub(super) async fn end(mut self, conn: &mut MultiplexedConnection, script: &str) -> Seen {
        let _: String = redis::cmd("ECHO").arg(END).query_async(conn).await.unwrap();
        let mut seen = Seen::default();
        loop {
            let line = self.0.next().await.unwrap();
            let (by, words) = line.split_once("] ").unwrap();
            let words = words_of(words);
            match words[0].to_ascii_lowercase().as_str() {
                "echo" if words[1] == END => return seen,
                "evalsha" => {
                    let run = redcall_store::scripts()
                        .find(|one| redis::Script::new(one.text).get_hash() == words[1]);
                    seen.scripts.push(run.unwrap().name);
                    if seen.scripts.last() == Some(&script) {
                        let count: usize = words[2].parse().unwrap();
                        seen.keys.extend(words[3..3 + count].iter().filter(|k| is_key(k)).cloned());
                    }
                }
                command if by.ends_with(" lua") && seen.scripts.last() == Some(&script) => {
                    let keys = keys_of(command, &words).iter();
                    seen.keys.extend(keys.filter(|key| is_key(key)).cloned());
                    seen.commands.insert(command.to_owned());
                }
                _ => {}
            }
        }
    }
}

/// Returns `true` if a key of a script is one, and not a channel; nor the mark that refuses
/// requests while it is there, whatever its type.
fn is_key(key: &str) -> bool {
    !key.contains(":notify:") && !key.ends_with(":control") && !key.ends_with(":answers_full")
}

fn keys_of<'a>(command: &str, words: &'a [String]) -> &'a [String] {
    match command {
        "time" | "spublish" => &[],
        "del" | "unlink" | "exists" => &words[1..],
        "lmove" => &words[1..3],
        "xinfo" | "xgroup" => &words[2..3],
        "xreadgroup" => {
            let at = words.iter().position(|word| word == "STREAMS").unwrap();
            &words[at + 1..at + 2]
        }
        _ => &words[1..2],
    }
}

/// The words of a line, each in quotes.
fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, line.chars());
    while let Some(char) = chars.next() {
        match (&mut word, char) {
            (Some(_), '"') => words.extend(word.take()),
            (None, '"') => word = Some(String::new()),
            // Keys have nothing that is escaped otherwise.
            (Some(text), '\\') => text.extend(chars.next()),
            (Some(text), char) => text.push(char),
            (None, _) => {}
        }
    }
    words
}
