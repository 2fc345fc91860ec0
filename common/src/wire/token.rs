//! The completion token, which settles a deferred request from any process.
//!
//! Its holder may answer the request, once. Redis has only its digest; no log has it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::rules::digest;
use crate::rules::name::{is_id, is_queue};

/// The prefix of every token, which identifies a leaked one.
const START: &str = "redcall1";
/// The number of random characters at its end, hex.
const SECRET: usize = 64;

/// Settles one deferred request. One word of plain characters: `redcall1.QUEUE.ID.SECRET`.
///
/// ```
/// use redcall_common::token::CompletionToken;
///
/// let token = CompletionToken::new("default", "order-7");
/// let text = token.reveal(); // for the program that settles
/// assert!(text.parse::<CompletionToken>()? == token);
/// # Ok::<(), redcall_common::token::InvalidToken>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CompletionToken {
    queue: String,
    id: String,
    secret: String,
}

/// The error for an invalid token. It does not repeat the text, which may be most of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a valid completion token: its form is redcall1.QUEUE.ID.SECRET")]
pub struct InvalidToken;

impl CompletionToken {
    /// Creates a token for the request `id` of `queue`, with 244 random bits.
    #[must_use]
    pub fn new(queue: &str, id: &str) -> Self {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self { queue: queue.to_owned(), id: id.to_owned(), secret }
    }

    /// Returns the queue of its request.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns the id of its request.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the token as text, for the program that settles. Not for logs and messages.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{START}.{}.{}.{}", self.queue, self.id, self.secret)
    }

    /// Returns its digest, which Redis stores.
    #[must_use]
    pub fn digest(&self) -> String {
        digest::of_data(&self.reveal())
    }
}

impl FromStr for CompletionToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let rest =
            text.strip_prefix(START).and_then(|rest| rest.strip_prefix('.')).ok_or(InvalidToken)?;
        let (rest, secret) = rest.rsplit_once('.').ok_or(InvalidToken)?;
        // A queue may have dots in its name, an id has none.
        let (queue, id) = rest.rsplit_once('.').ok_or(InvalidToken)?;
        let is_secret = secret.len() == SECRET && secret.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_queue(queue) || !is_id(id) || !is_secret {
            return Err(InvalidToken);
        }
        Ok(Self { queue: queue.to_owned(), id: id.to_owned(), secret: secret.to_owned() })
    }
}

// By hand: a reader of logs must not be able to settle.
impl fmt::Debug for CompletionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CompletionToken");
        shown.field("queue", &self.queue).field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_that_is_read_again_and_never_shown() {
        let token = CompletionToken::new("high.v2", "a_b-9");
        let text = token.reveal();
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{text}");
        let read: CompletionToken = text.parse().unwrap();
        assert_eq!((read.queue(), read.id(), read.digest()), ("high.v2", "a_b-9", token.digest()));
        let secret = text.rsplit('.').next().unwrap();
        assert!(!format!("{token:?}").contains(secret) && !token.digest().contains(secret));
        assert_ne!(token, CompletionToken::new("high.v2", "a_b-9"));
    }

    #[test]
    fn invalid_token_is_refused_without_being_repeated() {
        let text = CompletionToken::new("q", "x").reveal();
        let short = &text[..text.len() - 1];
        let wrong = ["", "redcall1", short, "redcall1.q.x.", &text[1..], "redcall1.{q}.x.00"];
        for wrong in wrong {
            assert_eq!(wrong.parse::<CompletionToken>(), Err(InvalidToken), "{wrong}");
        }
        assert!(!InvalidToken.to_string().contains(short));
    }
}
