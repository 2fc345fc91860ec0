//! An HTTP request per job: data as JSON in the body (or in the query, where there is no body), the
//! answer is the response's JSON.
//!
//! Connections are kept by host and used again. Whatever ends the job drops its request, which
//! closes the connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::client::proxy::matcher::Matcher;
use redcall_common::error::Code;
use redcall_common::settings::HttpSettings;
use redcall_common::store::refused_certificate;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Ending, Handler, HandlerError, Running};
use crate::request::Request;
use crate::state::States;

/// How much of an error's body is told to the caller, bytes.
const SHOWN: usize = 1 << 10;
/// Largest body of an error that is read at all, bytes.
const REFUSAL: usize = 64 << 10;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Headers of the caller that go on: the trace that the job belongs to (W3C Trace Context).
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// Sends a request for each job.
pub(crate) struct HttpHandler {
    tried: Arc<Tried>,
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    max_answer: usize,
}

impl HttpHandler {
    /// A client for all handlers of a mapping.
    ///
    /// # Errors
    ///
    /// When there is nothing that could speak TLS.
    pub(crate) fn client() -> Result<Client, String> {
        redcall_common::store::set_crypto_provider();
        Client::builder()
            .user_agent(concat!("redcall-worker/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(IDLE)
            // Whoever is redirected to would get headers and data that are not theirs.
            .redirect(Policy::none())
            .build()
            .map_err(|error| format!("HTTP cannot be spoken here: {error}"))
    }

    /// # Errors
    ///
    /// What is wrong with method, URL or headers.
    pub(crate) fn new(
        settings: &HttpSettings,
        client: Client,
        max_answer: usize,
    ) -> Result<Self, String> {
        let HttpSettings { method, url, headers } = settings;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| {
            format!("`{method}` is not a method; write GET, POST, PUT, PATCH or DELETE")
        })?;
        let url = Url::parse(url).map_err(|error| format!("its url cannot be read: {error}"))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err("its url is not http://HOST… or https://HOST…".to_owned());
        }
        let mut sent =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("`{name}` is not the name of a header"))?;
            // Its value may be a secret: it is not shown.
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| format!("the header `{name}` has characters that none may have"))?;
            value.set_sensitive(true);
            sent.insert(header, value);
        }
        let tried = Arc::new(Tried::of(&url));
        Ok(Self { tried, client, method, url, headers: sent, max_answer })
    }

    fn request(&self, job: &Request) -> Result<reqwest::RequestBuilder, HandlerError> {
        let mut url = self.url.clone();
        let has_body = ![Method::GET, Method::HEAD].contains(&self.method);
        if !has_body {
            add_query(&mut url, job.data())?;
        }
        let mut request =
            self.client.request(self.method.clone(), url).headers(self.headers.clone());
        request = request.header("redcall-job-id", job.id());
        request = request.header("redcall-attempt", job.attempt());
        if let Some(left) = job.remaining() {
            request = request.header("redcall-budget-ms", left.as_millis().to_string());
        }
        for name in TRACE {
            let value = job.headers().get(name).and_then(|value| HeaderValue::from_str(value).ok());
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        Ok(if has_body { request.body(job.data().get().to_owned()) } else { request })
    }
}

impl Handler for HttpHandler {
    fn describe(&self) -> String {
        // Without what may be secret.
        let mut url = self.url.clone();
        let _ = (url.set_username(""), url.set_password(None));
        url.set_query(None);
        format!("http {} {url}", self.method)
    }

    fn check(&self, _: &States) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, job: Request) -> Running {
        let (request, max) = (self.request(&job), self.max_answer);
        let tried = self.tried.clone();
        Box::pin(async move {
            let response = request?.send().await.map_err(|error| tried.broken(error))?;
            let (status, again) = (response.status(), retry_after(&response));
            if status.is_success() {
                return answer(&read(response, max, &tried).await?);
            }
            let body = read(response, max.min(REFUSAL), &tried).await.unwrap_or_default();
            Err(refused(&tried, status, &body, again))
        })
    }
}

/// Adds the fields of the data to the query.
fn add_query(url: &mut Url, data: &RawValue) -> Result<(), HandlerError> {
    let wrong = || {
        let message = "a request without body takes an object of texts, numbers and booleans";
        HandlerError::with_code(Code::InvalidData, message)
    };
    let fields = match serde_json::from_str(data.get()).map_err(|_| wrong())? {
        Value::Null => return Ok(()),
        Value::Object(fields) => fields,
        _ => return Err(wrong()),
    };
    let mut query = url.query_pairs_mut();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::String(text) => drop(query.append_pair(&name, &text)),
            Value::Bool(_) | Value::Number(_) => drop(query.append_pair(&name, &value.to_string())),
            Value::Array(_) | Value::Object(_) => return Err(wrong()),
        }
    }
    Ok(())
}

async fn read(mut response: Response, max: usize, tried: &Tried) -> Result<Vec<u8>, HandlerError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| tried.broken(error))? {
        if body.len() + chunk.len() > max {
            let message = format!("the response has more than {max} bytes (limits.answer)");
            return Err(HandlerError::with_code(Code::TooLarge, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn answer(body: &[u8]) -> Ending {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(RawValue::NULL.to_owned());
    }
    serde_json::from_slice::<Box<RawValue>>(body)
        .map_err(|error| HandlerError::new(format!("the response is no JSON: {error}")))
}

/// What a request really goes to, for messages. Without the URL, which may hold secrets.
struct Tried {
    host: String,
    port: u16,
    /// The proxy by which the host is reached, as the environment of the worker says (`HTTP_PROXY`,
    /// `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`).
    proxy: Option<String>,
}

impl Tried {
    fn of(url: &Url) -> Self {
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

    /// No response, or not all of it.
    fn broken(&self, error: reqwest::Error) -> HandlerError {
        let Self { host, port, .. } = self;
        let error = error.without_url();
        tracing::debug!(host, port, proxy = self.proxy, ?error, "an HTTP request failed");
        let what = match () {
            () if refused_certificate(&error) => "is not trusted: its certificate was refused",
            () if error.is_connect() => "cannot be reached",
            () => "broke off",
        };
        HandlerError::new(format!("{host} {what} {}: {}", self.way(), innermost(&error)))
    }

    fn way(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("through the proxy {proxy}"),
            None => format!("at port {}", self.port),
        }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A status that is no success, as an error.
fn refused(
    tried: &Tried,
    status: StatusCode,
    body: &[u8],
    again: Option<Duration>,
) -> HandlerError {
    let code = code_of(status);
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    // It may be the proxy that says so.
    let way = tried.proxy.as_ref().map(|_| format!(" {}", tried.way())).unwrap_or_default();
    let mut error = HandlerError::with_code(code, format!("HTTP status {status}{way}"));
    error = match serde_json::from_slice::<Box<RawValue>>(body) {
        Ok(json) => error.data(&json),
        Err(_) if text.trim().is_empty() => error,
        Err(_) => error.data(text.trim()),
    };
    match again.filter(|_| code == Code::Overloaded) {
        Some(after) => error.retry_after(after),
        None => error,
    }
}

/// Which code says what a status says.
fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        400 | 422 => Code::InvalidData,
        401 | 403 => Code::Unauthorized,
        404 | 410 => Code::NotFound,
        408 | 504 => Code::Timeout,
        409 => Code::Conflict,
        413 => Code::TooLarge,
        429 | 503 => Code::Overloaded,
        _ => Code::HandlerFailed,
    }
}

/// When it may be tried again, if it says so: in seconds, or at a time.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}
