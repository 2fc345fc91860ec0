//! `settle.lua`: answer what was put off by its worker; and the record that it leaves.

use std::time::Duration;

use redis::Value;

use super::read;
use crate::request::ReplyTo;
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;
use crate::store::script::SETTLE;

/// What a worker leaves behind of a request that is answered later.
#[derive(Debug, Clone)]
pub struct ForLater {
    /// SHA-256 of its token: the token itself is nowhere at Redis.
    pub digest: String,
    /// Its run, and the position of its ending frame.
    pub pending: Pending,
    /// Where its frames go; `None` if nobody waits.
    pub reply: Option<ReplyTo>,
    /// The ending frame without its first two fields, for when its time is over.
    pub late: String,
    /// The same, for when it is cancelled.
    pub gone: String,
    /// Whether it is a dead letter if it ends with an error.
    pub bury: bool,
    /// For how long its states are kept, if they are.
    pub status_ttl_ms: Option<u64>,
}

/// A request that is answered later, as who settles it has to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// The job's name.
    pub name: String,
    /// Which run of the job put it off.
    pub attempt: u32,
    /// `seq` of its ending frame.
    pub seq: u64,
    /// Name of the key under which its frames are signed.
    pub key: Option<String>,
    /// The digest of its call, if it has an idempotency key and its frames are signed.
    pub call: Option<String>,
    /// What its caller knows it by, from its headers.
    pub nonce: Option<String>,
    /// Whether its end is to be published.
    pub notify: bool,
}

/// One that has ended without being settled, of which somebody wants to be notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedLater {
    /// Its id.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// What its caller knows it by.
    pub nonce: Option<String>,
}

/// What became of an attempt to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettledLater {
    /// It took effect.
    Yes,
    /// It was settled before.
    Before,
    /// There is no such token, or none any more.
    Unknown,
    /// It was late: the request has just been answered so.
    Late,
}

impl ForLater {
    /// About how many bytes it has on its way to Redis.
    pub(super) fn size(&self) -> usize {
        500 + self.late.len() + self.gone.len()
    }

    /// Field and value in turns, as a JSON array.
    pub(super) fn fields(&self) -> String {
        let Pending { name, attempt, seq, key, call, nonce, notify } = &self.pending;
        let (attempt, seq) = (attempt.to_string(), seq.to_string());
        let flag = |set: bool| if set { "1" } else { "0" };
        let ttl = self.reply.as_ref().map(|reply| reply.ttl_ms.to_string());
        let status = self.status_ttl_ms.map(|ttl| ttl.to_string());
        let mut fields = vec!["token", &self.digest, "name", name, "attempt", &attempt];
        fields.extend(["seq", &seq, "late", &self.late, "gone", &self.gone]);
        fields.extend(["bury", flag(self.bury), "event", flag(*notify)]);
        let optional = [
            ("key", key.as_deref()),
            ("call", call.as_deref()),
            ("nonce", nonce.as_deref()),
            ("ttl", ttl.as_deref()),
            ("status", status.as_deref()),
            ("channel", self.reply.as_ref().and_then(|reply| reply.notify.as_deref())),
        ];
        fields.extend(
            optional.into_iter().filter_map(|(name, value)| Some([name, value?])).flatten(),
        );
        // Strings only: nothing here can fail to serialise.
        serde_json::to_string(&fields).unwrap_or_default()
    }
}

impl Link {
    /// What is known of the request `id` under the token of this digest; `None` if there is none.
    /// What was settled already is known by its token alone, and by nothing else.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn pending(
        &self,
        keys: &QueueKeys,
        id: &str,
        digest: &str,
        within: Duration,
    ) -> Result<Option<Pending>, StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(keys.pending(id));
        get.arg(&["token", "name", "attempt", "seq", "key", "call", "nonce", "event"]);
        type Text = Option<String>;
        type Raw = (Text, Text, Option<u32>, Option<u64>, Text, Text, Text, Text);
        let raw: Raw = self.with(within, async |conn| get.query_async(conn).await).await?;
        let (token, name, attempt, seq, key, call, nonce, event) = raw;
        Ok((token.as_deref() == Some(digest)).then(|| Pending {
            name: name.unwrap_or_default(),
            attempt: attempt.unwrap_or_default(),
            seq: seq.unwrap_or_default(),
            key,
            call,
            nonce,
            notify: event.as_deref() == Some("1"),
        }))
    }

    /// Ends the request `id` with a frame, if the token of this digest is its, for who settles
    /// under the name `by`. `tail` is the frame without its first two fields; `error` is why there
    /// is no answer (code and reason); `keep` is whether others who make the same call get the end.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be settled; settling again under the same name says so.
    pub async fn settle_later(
        &self,
        keys: &QueueKeys,
        (id, digest, by): (&str, &str, &str),
        (tail, error, keep): (&str, Option<(&str, &str)>, bool),
        within: Duration,
    ) -> Result<SettledLater, StoreError> {
        let (code, reason) = error.unwrap_or_default();
        let mut call = SETTLE.call(&[keys.pending(id)]);
        call.arg(id).arg(digest).arg(by).arg(tail).arg(code).arg(reason).arg(i32::from(keep));
        settled(self.run(&SETTLE, &call, within).await?)
    }
}

/// Reads the script's answer.
pub(super) fn settled(value: Value) -> Result<SettledLater, StoreError> {
    Ok(match read("settle", value)? {
        1 => SettledLater::Yes,
        0 => SettledLater::Before,
        -1 => SettledLater::Unknown,
        2 => SettledLater::Late,
        _ => return Err(StoreError::Unexpected("settle")),
    })
}

/// Reads id, name and nonce of each, of what `script` has ended.
pub(super) fn ended_later(
    script: &'static str,
    told: Vec<String>,
) -> Result<Vec<EndedLater>, StoreError> {
    if !told.len().is_multiple_of(3) {
        return Err(StoreError::Unexpected(script));
    }
    let ended = told.chunks_exact(3).map(|one| EndedLater {
        id: one[0].clone(),
        name: one[1].clone(),
        nonce: Some(one[2].clone()).filter(|nonce| !nonce.is_empty()),
    });
    Ok(ended.collect())
}
