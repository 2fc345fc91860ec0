//! What a request really goes to, for messages.

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// What a request really goes to. Without the URL, which may hold secrets.
pub(super) struct Tried {
    pub(super) host: String,
    port: u16,
    /// The proxy by which the host is reached, as the environment of the worker says (`HTTP_PROXY`,
    /// `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`).
    pub(super) proxy: Option<String>,
}

impl Tried {
    pub(super) fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        // The client goes by the same.
        let uri = url.as_str().parse().ok();
        let proxy = uri.and_then(|uri| Matcher::from_system().intercept(&uri));
        let proxy = proxy.and_then(|proxy| {
            let uri = proxy.uri();
            let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}{port}", uri.host()?))
        });
        Self { host, port, proxy }
    }

    pub(super) fn way(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("through the proxy {proxy}"),
            None => format!("at port {}", self.port),
        }
    }
}
