//! The place at which a script failed: its line, and the keys that have a value of another type.
//! Redis names neither command nor key.

use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, RedisResult};

use redcall_common::keys::type_of;

/// The maximum number of keys whose types are read.
const MAX_KEYS: usize = 64;

/// Returns the line of a script's `text` that an error names, as `script: <hash>, on
/// @user_script:<line>.`; as the end of a sentence.
pub(super) fn line_of(text: &str, detail: &str) -> Option<String> {
    let (_, after) = detail.rsplit_once("@user_script:")?;
    let number = after.trim_end_matches('.').parse::<usize>().ok()?;
    let line = text.lines().nth(number.checked_sub(1)?)?;
    Some(format!("; at `{}`", line.trim()))
}

/// Returns the keys of a script's call that have a value of another type than Redcall's, as the end
/// of a sentence; empty if there are none, or Redis does not report any.
pub(crate) async fn wrong_types(conn: &mut MultiplexedConnection, call: &Cmd) -> String {
    let text = |arg| match arg {
        Arg::Simple(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    // After the command's name and the hash.
    let mut args = call.args_iter().skip(2).filter_map(text);
    let count = args.next().and_then(|count| count.parse().ok()).unwrap_or(0);
    let keys = args.take(count).filter_map(|key| Some((key, type_of(key)?)));
    let keys: Vec<(&str, &str)> = keys.take(MAX_KEYS).collect();
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    for (key, _) in &keys {
        pipe.cmd("TYPE").arg(key);
    }
    let Ok(types) = pipe.query_async::<Vec<RedisResult<String>>>(conn).await else {
        return String::new();
    };
    let found = keys.iter().zip(types).filter_map(|((key, own), found)| {
        let found = found.ok().filter(|found| found != own && found != "none")?;
        Some(format!("; `{key}` is a {found} instead of a {own}"))
    });
    found.collect()
}
