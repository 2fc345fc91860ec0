//! The form of a Redis address, and its form without a password.
//!
//! Form only: the store connects. No message of this module repeats a part of the address after its
//! scheme, because a password that is not percent-encoded can be in any part.

use std::net::IpAddr;

use super::sentinel::SentinelUrl;

/// The address that requests a private server.
pub(crate) const EMBEDDED: &str = "embedded";

/// The fix of an invalid address: the allowed forms.
pub(crate) const HELP: &str = "write redis://HOST:PORT, rediss://HOST:PORT (TLS), \
     redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, redis+unix:///PATH, \
     unix:///PATH or embedded; percent-encode special characters of a password";

/// Returns the problem of `url`, if it has one.
pub(crate) fn problem(url: &str) -> Option<String> {
    if url == EMBEDDED {
        return None;
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("holds a space or a control character".to_owned());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some("is not an address with a scheme".to_owned());
    };
    let found = match scheme {
        "redis" => server(rest).or_else(|| server_suffix(rest, false)),
        "rediss" => server(rest).or_else(|| server_suffix(rest, true)),
        "redis+sentinel" | "rediss+sentinel" => sentinels(url),
        "redis+unix" | "unix" if rest.starts_with('/') => socket_suffix(rest),
        "redis+unix" | "unix" => Some("does not name a socket by its absolute path"),
        _ if is_scheme(scheme) => {
            return Some(format!("has the scheme `{scheme}`, which is not supported"));
        }
        _ => Some("is not an address with a scheme"),
    };
    found.map(str::to_owned)
}

/// Returns the problem of `user:password@host:port/database?…`.
fn server(rest: &str) -> Option<&'static str> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some(host_and_port) = authority.rsplit('@').next().filter(|_| !path.contains('@')) else {
        return Some("has an unencoded `/`, `?` or `#` before its `@`");
    };
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("?"))),
            None => return Some("has a `[` without its `]`"),
        },
        None => match host_and_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_and_port, None),
        },
    };
    if host.is_empty() {
        return Some("has no host");
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Some("has a port that is not a number from 1 to 65535");
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let database = path.strip_prefix('/').unwrap_or_default();
    if !database.is_empty() && database.parse::<u32>().is_err() {
        return Some("has a database (the part after the host) that is not a number");
    }
    None
}

/// Returns the problem of the part after `host:port/database`. The driver ignores unknown parts: a
/// database that is given there would not be used.
fn server_suffix(rest: &str, is_tls: bool) -> Option<&'static str> {
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(a, b)| (a, Some(b)));
    match fragment {
        None => {}
        Some("insecure") if is_tls => {}
        Some(_) if is_tls => return Some("may only have `insecure` after `#`"),
        Some(_) => return Some("must not have anything after `#`"),
    }
    let query = rest.split_once('?')?.1;
    pairs(query).find_map(|(key, _)| match key {
        "protocol" => None,
        "db" | "database" => {
            Some("has its database after `?`: write it after the host, such as /2")
        }
        "pass" | "password" | "user" | "username" => {
            Some("has its user after `?`: write redis://USER:PASSWORD@HOST")
        }
        _ => Some("may only have `protocol` after `?`"),
    })
}

/// Returns the problem of the part after the path of a socket.
fn socket_suffix(rest: &str) -> Option<&'static str> {
    if rest.contains('#') {
        return Some("must not have anything after `#`");
    }
    let query = rest.split_once('?')?.1;
    let mut database = None;
    for (key, value) in pairs(query) {
        match key {
            "db" if database.is_some() => return Some("has its database (`db`) twice"),
            "db" if value.parse::<u32>().is_err() => {
                return Some("has a database (`db`) that is not a number");
            }
            "db" => database = Some(value),
            "user" | "pass" | "protocol" => {}
            _ => return Some("may only have `db`, `user`, `pass` and `protocol` after `?`"),
        }
    }
    None
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Returns the problem of an address of Sentinels.
fn sentinels(url: &str) -> Option<&'static str> {
    let url = match SentinelUrl::parse(url) {
        Ok(url) => url?,
        Err(problem) => return Some(problem),
    };
    let server_of = |address: &String| address.split_once("://").and_then(|(_, rest)| server(rest));
    url.nodes.iter().chain([&url.like]).find_map(server_of)
}

fn is_scheme(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'))
}

/// Returns `true` if a part of the connection leaves this machine without TLS.
pub(crate) fn is_in_the_clear(url: &str) -> bool {
    if let Ok(Some(sentinels)) = SentinelUrl::parse(url) {
        return sentinels.nodes.iter().any(|node| is_in_the_clear(node));
    }
    let Some(rest) = url.strip_prefix("redis://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => host.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_loopback && host != "localhost"
}

/// Returns `url` without user, password and query. Hides too much rather than too little.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url == EMBEDDED { url.to_owned() } else { "***".to_owned() };
    };
    // The last `@` and not the first: a password may contain one.
    let shown = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => rest.to_owned(),
    };
    // `unix:///path?pass=…` is a socket's address with its password.
    match shown.split_once('?') {
        Some((address, _)) => format!("{scheme}://{address}?***"),
        None => format!("{scheme}://{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_have_no_problem() {
        for url in [
            "embedded",
            "redis://127.0.0.1:6379",
            "redis://localhost",
            "redis://localhost/",
            "redis://:secret@cache.example:6380/3",
            "redis://user:p%2Fw@cache?protocol=resp3",
            "rediss://[::1]:6379/0",
            "rediss://[::1]",
            "redis+unix:///run/redis.sock",
            "unix:///run/redis.sock?db=1&user=u&pass=p&protocol=resp3",
            "rediss://cache#insecure",
            "redis+sentinel://a/main",
            "rediss+sentinel://me:p%2Fw@a:1,b/main/3?sentinel_username=u&sentinel_password=s",
        ] {
            assert_eq!(problem(url), None, "{url}");
        }
    }

    #[test]
    fn bad_addresses_have_errors_without_password() {
        for (url, expected) in [
            ("", "is not an address with a scheme"),
            ("redis://local host", "holds a space or a control character"),
            ("localhost:6379", "is not an address with a scheme"),
            ("user:secret://x", "is not an address with a scheme"),
            ("http://x", "has the scheme `http`, which is not supported"),
            ("redis+sentinel://x", "has no service: write …/SERVICE after the hosts"),
            ("redis+sentinel://x,,y/main", "has no host"),
            ("redis+sentinel://x:0/main", "has a port that is not a number from 1 to 65535"),
            (
                "rediss+sentinel://:se/cret@x/main",
                "has an unencoded `/`, `?` or `#` before its `@`",
            ),
            (
                "redis+sentinel://x/main?password=secret",
                "may only have sentinel_username and sentinel_password after `?`",
            ),
            (
                "redis+sentinel://x/main/y",
                "has a database (the part after the host) that is not a number",
            ),
            (
                "redis+sentinel://x/main/2/3",
                "has more than a service and a database after its hosts",
            ),
            (
                "redis+sentinel://x/main?db=2",
                "may only have sentinel_username and sentinel_password after `?`",
            ),
            ("redis+cluster://x", "has the scheme `redis+cluster`, which is not supported"),
            ("unix://run/redis.sock", "does not name a socket by its absolute path"),
            ("redis://", "has no host"),
            ("redis://:secret@", "has no host"),
            ("redis://:sec/ret@host", "has an unencoded `/`, `?` or `#` before its `@`"),
            ("redis://[::1", "has a `[` without its `]`"),
            ("redis://[::1]6379", "has a port that is not a number from 1 to 65535"),
            ("redis://host:0", "has a port that is not a number from 1 to 65535"),
            ("redis://::1", "has no host"),
            ("redis://host:65536", "has a port that is not a number from 1 to 65535"),
            (
                "redis://:secret@host:1?db=2",
                "has its database after `?`: write it after the host, such as /2",
            ),
            (
                "rediss://host/1?protocol=resp3&database=2",
                "has its database after `?`: write it after the host, such as /2",
            ),
            (
                "redis://host?password=secret",
                "has its user after `?`: write redis://USER:PASSWORD@HOST",
            ),
            ("redis://host?timeout=3", "may only have `protocol` after `?`"),
            ("redis://host#insecure", "must not have anything after `#`"),
            ("rediss://host#secure", "may only have `insecure` after `#`"),
            (
                "unix:///r.sock?database=2",
                "may only have `db`, `user`, `pass` and `protocol` after `?`",
            ),
            ("unix:///r.sock?db=1&db=2", "has its database (`db`) twice"),
            ("unix:///r.sock?db=two", "has a database (`db`) that is not a number"),
            ("redis+unix:///r.sock?db", "has a database (`db`) that is not a number"),
            ("unix:///r.sock#x", "must not have anything after `#`"),
            ("redis+sentinel://x/main#y", "must not have anything after `#`"),
            ("redis+sentinel://x/main/2#y", "must not have anything after `#`"),
            ("redis://host/x", "has a database (the part after the host) that is not a number"),
        ] {
            assert_eq!(problem(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn remote_address_without_tls_is_in_the_clear() {
        for url in ["redis://cache", "redis://me:p@10.0.0.1:1/2", "redis+sentinel://[::1],b/main"] {
            assert!(is_in_the_clear(url), "{url}");
        }
        for url in [
            "embedded",
            "redis://127.0.0.1:6379",
            "redis://:p@localhost/1",
            "redis://[::1]",
            "rediss://cache",
            "rediss+sentinel://a/main",
            "redis+unix:///r.sock",
        ] {
            assert!(!is_in_the_clear(url), "{url}");
        }
    }

    #[test]
    fn redacted_addresses_hold_no_password() {
        for (url, expected) in [
            ("embedded", "embedded"),
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:secret@host:1/2", "redis://***@host:1/2"),
            ("redis://u:sec@ret@host", "redis://***@host"),
            ("redis://u:sec/ret@host", "redis://***@host"),
            ("unix:///s.sock?pass=secret", "unix:///s.sock?***"),
            ("secret@host", "***"),
        ] {
            assert_eq!(redacted(url), expected);
        }
    }
}
