//! The token that settles a request which is answered later, from any process.
//!
//! Whoever has it may answer the request, once. Redis has only its digest; no log has it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::digest;
use crate::name::{is_id, is_queue};

/// What every token begins with, so that one that has leaked is known for what it is.
const START: &str = "redcall1";
/// Random characters at its end, hex.
const SECRET: usize = 64;

/// Settles one request that is answered later. One word of plain characters:
/// `redcall1.QUEUE.ID.SECRET`.
#[derive(Clone, PartialEq, Eq)]
pub struct SettlementToken {
    queue: String,
    id: String,
    secret: String,
}

/// A text that is no token. It is not repeated: it may be most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no settlement token: one is written redcall1.QUEUE.ID.SECRET")]
pub struct NoToken;

impl SettlementToken {
    /// A new one for the request `id` of `queue`, with 244 random bits.
    #[must_use]
    pub fn new(queue: &str, id: &str) -> Self {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self { queue: queue.to_owned(), id: id.to_owned(), secret }
    }

    /// The queue of its request.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The id of its request.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The token as text, for whoever is to settle. Not for logs and messages.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{START}.{}.{}.{}", self.queue, self.id, self.secret)
    }

    /// What Redis has of it.
    #[must_use]
    pub fn digest(&self) -> String {
        digest::of_data(&self.reveal())
    }
}

impl FromStr for SettlementToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let rest =
            text.strip_prefix(START).and_then(|rest| rest.strip_prefix('.')).ok_or(NoToken)?;
        let (rest, secret) = rest.rsplit_once('.').ok_or(NoToken)?;
        // A queue may have dots in its name, an id has none.
        let (queue, id) = rest.rsplit_once('.').ok_or(NoToken)?;
        let is_secret = secret.len() == SECRET && secret.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_queue(queue) || !is_id(id) || !is_secret {
            return Err(NoToken);
        }
        Ok(Self { queue: queue.to_owned(), id: id.to_owned(), secret: secret.to_owned() })
    }
}

// By hand: whoever reads a log must not be able to settle.
impl fmt::Debug for SettlementToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SettlementToken");
        shown.field("queue", &self.queue).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_that_is_read_again_and_never_shown() {
        let token = SettlementToken::new("high.v2", "a_b-9");
        let text = token.reveal();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
        let read: SettlementToken = text.parse().unwrap();
        assert_eq!((read.queue(), read.id(), read.digest()), ("high.v2", "a_b-9", token.digest()));
        let secret = text.rsplit('.').next().unwrap();
        assert!(!format!("{token:?}").contains(secret) && !token.digest().contains(secret));
        assert_ne!(token, SettlementToken::new("high.v2", "a_b-9"));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let text = SettlementToken::new("q", "x").reveal();
        let short = &text[..text.len() - 1];
        let wrong = ["", "redcall1", short, "redcall1.q.x.", &text[1..], "redcall1.{q}.x.00"];
        for wrong in wrong {
            assert_eq!(wrong.parse::<SettlementToken>(), Err(NoToken), "{wrong}");
        }
        assert!(!NoToken.to_string().contains(short));
    }
}
