//! A schema registry over HTTP/1.1, as the clients of the pipelines query it: the door's schemas,
//! read only.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method as Verb, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use redcall_common::settings::GrpcAvroSettings;

use crate::door::{Connection, Door};
use crate::error::DoorError;
use crate::grpc_avro::avro::json;
use crate::grpc_avro::method::schema_text;

/// Time limit of a request's headers, and of a connection between requests.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const BUFFER: usize = 16 << 10;
/// The type of a registry's answers.
const JSON: &str = "application/vnd.schemaregistry.v1+json";

/// The schemas of a door.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The schemas' texts; the id of one is its position and 1.
    texts: Vec<String>,
    /// Their positions by subject: the record's name, that name and `Schema`, the file's name.
    subjects: BTreeMap<String, usize>,
}

impl Registry {
    /// Reads the schema files of a door. They are numbered in the order of their paths, so that all
    /// gateways with the same settings agree.
    ///
    /// # Errors
    ///
    /// [`DoorError::File`] with a file that cannot be read.
    pub(crate) fn load(settings: &GrpcAvroSettings) -> Result<Self, DoorError> {
        let methods = settings.methods.values();
        let mut files: Vec<&Path> =
            methods.flat_map(|method| [&*method.request, &*method.response]).collect();
        files.sort_unstable();
        files.dedup();
        let mut registry = Self::default();
        for file in files {
            let text = schema_text(file)?;
            let position = registry.texts.len();
            let name = json::member(text.trim(), "name").and_then(json::text);
            let stem = file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            let name = name.as_deref().map(|name| name.rsplit('.').next().unwrap_or(name));
            let subjects = name.map(|name| [name.to_owned(), format!("{name}Schema")]);
            for subject in subjects.into_iter().flatten().chain(stem) {
                registry.subjects.entry(subject).or_insert(position);
            }
            registry.texts.push(text.trim().to_owned());
        }
        Ok(registry)
    }

    fn answer<B: Body>(&self, request: &Request<B>) -> (StatusCode, String) {
        if request.method() != Verb::GET {
            return problem(StatusCode::METHOD_NOT_ALLOWED, 405, "only GET");
        }
        let parts: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
        match parts[..] {
            ["subjects"] => {
                let names = self.subjects.keys().map(|name| json::quoted(name));
                (StatusCode::OK, format!("[{}]", names.collect::<Vec<_>>().join(",")))
            }
            ["subjects", subject, "versions", version] => match self.subjects.get(subject) {
                None => problem(StatusCode::NOT_FOUND, 40401, "Subject not found."),
                Some(_) if version != "latest" && version != "1" => {
                    problem(StatusCode::NOT_FOUND, 40402, "Version not found.")
                }
                Some(position) => {
                    let (subject, id) = (json::quoted(subject), position + 1);
                    let schema = json::quoted(&self.texts[*position]);
                    let body = format!(
                        r#"{{"subject":{subject},"version":1,"id":{id},"schema":{schema}}}"#
                    );
                    (StatusCode::OK, body)
                }
            },
            ["schemas", "ids", id] => {
                let position = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
                match position.and_then(|position| self.texts.get(position)) {
                    None => problem(StatusCode::NOT_FOUND, 40403, "Schema not found"),
                    Some(text) => {
                        (StatusCode::OK, format!(r#"{{"schema":{}}}"#, json::quoted(text)))
                    }
                }
            }
            _ => problem(StatusCode::NOT_FOUND, 404, "HTTP 404 Not Found"),
        }
    }
}

fn problem(status: StatusCode, code: u32, message: &str) -> (StatusCode, String) {
    (status, format!(r#"{{"error_code":{code},"message":{}}}"#, json::quoted(message)))
}

/// Serves a connection to its end.
pub(crate) async fn serve(connection: Connection, door: Arc<Door>, registry: Arc<Registry>) {
    let Connection { stream, peer, open: _open } = connection;
    let answer = service_fn(|request| {
        let (status, body) = registry.answer(&request);
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT).max_buf_size(BUFFER);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        ended = serving.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(gateway = door.name(), peer, %error, "connection failed");
            }
        }
        () = door.draining() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}
