//! Parses `redis+sentinel://`: the Sentinels, the service, and the address of its servers.

/// The parts of `redis+sentinel://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/SERVICE[/DATABASE]`, each
/// an address that the driver reads. `rediss+sentinel://` is the same with TLS all over.
///
/// User and password are those of the Redis servers; those of the Sentinels follow as
/// `?sentinel_username=…&sentinel_password=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelUrl {
    /// The Sentinels, at least one.
    pub nodes: Vec<String>,
    /// The Sentinels' name for the primary and its replicas.
    pub service: String,
    /// An address with everything that its servers share: all but host and port.
    pub like: String,
}

/// The default port of Sentinels.
const PORT: &str = "26379";

impl SentinelUrl {
    /// Returns `None` for any other address.
    ///
    /// # Errors
    ///
    /// The problem; without any part of the address after its scheme.
    pub fn parse(url: &str) -> Result<Option<Self>, &'static str> {
        let (scheme, rest) = match url.split_once("+sentinel://") {
            Some((scheme @ ("redis" | "rediss"), rest)) => (scheme, rest),
            _ => return Ok(None),
        };
        if rest.contains('#') {
            return Err("must not have anything after `#`");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains('/') => {
                return Err("has an unencoded `/`, `?` or `#` before its `@`");
            }
            Some((user, rest)) => (format!("{user}@"), rest),
            None => (String::new(), rest),
        };
        let mut path = rest.split('/');
        let hosts = path.next().unwrap_or_default();
        let service = path.next().filter(|name| !name.is_empty());
        let service = service.ok_or("has no service: write …/SERVICE after the hosts")?;
        let database = path.next().unwrap_or_default();
        if path.next().is_some() {
            return Err("has more than a service and a database after its hosts");
        }
        let mut of_sentinel = (String::new(), String::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sentinel_username", user)) => user.clone_into(&mut of_sentinel.0),
                Some(("sentinel_password", word)) => word.clone_into(&mut of_sentinel.1),
                _ => {
                    return Err("may only have sentinel_username and sentinel_password after `?`");
                }
            }
        }
        let login = match (&*of_sentinel.0, &*of_sentinel.1) {
            ("", "") => String::new(),
            (user, word) => format!("{user}:{word}@"),
        };
        let nodes = hosts.split(',').map(|host| {
            // In an address with brackets, a port follows the brackets.
            let named = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            match host {
                "" => Err("has no host"),
                _ if named => Ok(format!("{scheme}://{login}{host}")),
                _ => Ok(format!("{scheme}://{login}{host}:{PORT}")),
            }
        });
        Ok(Some(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            service: service.to_owned(),
            like: format!("{scheme}://{user}primary/{database}"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> SentinelUrl {
        SentinelUrl::parse(url).unwrap_or_default().unwrap_or_else(|| panic!("{url}"))
    }

    #[test]
    fn an_address_of_sentinels_is_taken_apart() {
        let url = parsed("redis+sentinel://a/main");
        assert_eq!(url.nodes, ["redis://a:26379"]);
        assert_eq!((&*url.service, &*url.like), ("main", "redis://primary/"));

        let url = "rediss+sentinel://me:p%40w@a:1,[::1],[::2]:3/main/4?sentinel_password=s";
        let url = parsed(url);
        assert_eq!(
            url.nodes,
            ["rediss://:s@a:1", "rediss://:s@[::1]:26379", "rediss://:s@[::2]:3"]
        );
        assert_eq!((&*url.service, &*url.like), ("main", "rediss://me:p%40w@primary/4"));
    }

    #[test]
    fn other_addresses_are_none_of_sentinels() {
        for url in ["redis://a", "embedded", "unix+sentinel://a/b", "+sentinel://a/b"] {
            assert_eq!(SentinelUrl::parse(url), Ok(None), "{url}");
        }
    }
}
