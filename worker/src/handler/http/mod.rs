//! An HTTP request per job: data as JSON in the body (or in the query, for methods without a body);
//! the answer is the response's JSON.
//!
//! The end of the job drops its request, which closes the connection.

mod connection;
mod query;
mod response;
mod tried;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Uri};
use percent_encoding::percent_decode_str;
use redcall_common::error::Code;
use redcall_common::settings::HttpSettings;
use redcall_common::time::millis;
use url::Url;

pub(crate) use connection::Client;
use tried::Tried;

use super::bounds::Bounds;
use super::error::HandlerError;
use super::interface::{Handler, Running};
use crate::handler::compiled::state::StateMap;
use crate::run::request::Request;

/// Headers of the caller that are forwarded: the trace of the job (W3C Trace Context).
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// Sends a request for each job.
pub(crate) struct HttpHandler {
    tried: Arc<Tried>,
    client: Client,
    method: Method,
    url: Url,
    /// The URL of requests with a body.
    uri: Uri,
    headers: HeaderMap,
    bounds: Bounds,
}

impl HttpHandler {
    /// # Errors
    ///
    /// The mistake in method, URL or headers.
    pub(crate) fn new(
        settings: &HttpSettings,
        client: Client,
        bounds: Bounds,
    ) -> Result<Self, String> {
        let HttpSettings { method, url, headers } = settings;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| {
            format!("`{method}` is not a known method: use GET, HEAD, POST, PUT, PATCH or DELETE")
        })?;
        let mut url = Url::parse(url).map_err(|error| format!("the url is not valid: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err("the url must start with http://HOST or https://HOST".to_owned());
        }
        let json = HeaderValue::from_static("application/json");
        let agent = concat!("redcall-worker/", env!("CARGO_PKG_VERSION"));
        let mut sent = HeaderMap::from_iter([
            (CONTENT_TYPE, json),
            (ACCEPT, HeaderValue::from_static("*/*")),
            (USER_AGENT, HeaderValue::from_static(agent)),
        ]);
        if let Some(basic) = take_user(&mut url)? {
            sent.insert(AUTHORIZATION, basic);
        }
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("`{name}` is not a valid header name"))?;
            // The value may be a secret, and is not shown.
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| format!("the header `{name}` has invalid characters"))?;
            value.set_sensitive(true);
            sent.insert(header, value);
        }
        let uri = uri(&url).map_err(|_| "the url has invalid characters".to_owned())?;
        let tried = Arc::new(Tried::of(&url, &uri, &client));
        Ok(Self { tried, client, method, url, uri, headers: sent, bounds })
    }

    fn request(&self, job: &Request) -> Result<hyper::Request<Full<Bytes>>, HandlerError> {
        let has_body = ![Method::GET, Method::HEAD].contains(&self.method);
        let (uri, body) = if has_body {
            (self.uri.clone(), job.data().get().to_owned())
        } else {
            let mut url = self.url.clone();
            query::add_query(&mut url, job.data())?;
            let uri = uri(&url).map_err(|_| {
                HandlerError::with_code(
                    Code::InvalidData,
                    "the data do not fit into the URL's query",
                )
            })?;
            (uri, String::new())
        };
        let mut request = hyper::Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers(job);
        Ok(request)
    }

    /// Returns the headers: Redcall's override the mapping's, and the mapping's the caller's. Each
    /// is sent once.
    fn headers(&self, job: &Request) -> HeaderMap {
        let mut headers = self.headers.clone();
        for name in TRACE {
            let value = job.headers().get(name).and_then(|value| HeaderValue::from_str(value).ok());
            if let Some(value) = value
                && !headers.contains_key(name)
            {
                headers.insert(name, value);
            }
        }
        if let Ok(id) = HeaderValue::from_str(job.id()) {
            headers.insert("redcall-job-id", id);
        }
        headers.insert("redcall-attempt", job.attempt().into());
        if let Some(left) = job.remaining() {
            headers.insert("redcall-budget-ms", millis(left).into());
        }
        headers
    }
}

/// Removes user and password from a URL, and returns them as a header.
fn take_user(url: &mut Url) -> Result<Option<HeaderValue>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)));
    let mut value = value.map_err(|error| format!("the url is not valid: {error}"))?;
    value.set_sensitive(true);
    // Both fail only without a host.
    let _ = (url.set_username(""), url.set_password(None));
    Ok(Some(value))
}

fn uri(url: &Url) -> Result<Uri, hyper::http::uri::InvalidUri> {
    url.as_str().parse()
}

impl Handler for HttpHandler {
    fn describe(&self) -> String {
        // Without its query and fragment, which may be secret.
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        format!("http {} {url}", self.method)
    }

    fn check(&self, _: &StateMap) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, job: Request) -> Running {
        let (request, client, bounds) = (self.request(&job), self.client.clone(), self.bounds);
        let tried = self.tried.clone();
        Box::pin(async move {
            let sent = client.send(request?).await;
            let response = sent.map_err(|error| response::unsent(&tried, error))?;
            let (status, again) = (response.status(), response::retry_after(response.headers()));
            let body = response.into_body();
            if status.is_success() {
                let body = response::read(body, bounds.max_answer, &tried).await?;
                return response::answer(&body);
            }
            let max = bounds.max_answer.min(response::REFUSAL);
            let body = response::read(body, max, &tried).await.unwrap_or_default();
            Err(response::refused(&tried, status, &body, again, bounds))
        })
    }
}
