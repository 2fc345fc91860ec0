//! The real target of a request, for messages.

use hyper::Uri;
use url::Url;

use super::connection::Client;

/// The real target of a request. Without the URL, which may hold secrets.
pub(super) struct Tried {
    pub(super) host: String,
    port: u16,
    /// The proxy for the host, by the worker's environment (`HTTP_PROXY`, `HTTPS_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY`).
    pub(super) proxy: Option<String>,
}

impl Tried {
    /// `uri` is the form of `url` that `client` uses.
    pub(super) fn of(url: &Url, uri: &Uri, client: &Client) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let proxy = client.proxy_of(uri).and_then(|proxy| {
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
