//! A method of the settings: its schemas, and the fields by which a record describes a job.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use redcall_client::JobState;
use redcall_common::settings::{GrpcDoes, GrpcMethod};
use serde_json::value::RawValue;

use crate::error::DoorError;
use crate::grpc_avro::avro::json::{self, Kind};
use crate::grpc_avro::avro::{ReadBounds, ReadError, Schema, Unknown, WriteError, read, write};

/// The largest schema file, bytes.
const LARGEST_SCHEMA: u64 = 1 << 20;

/// One method at run time.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) does: GrpcDoes,
    pub(crate) job: String,
    pub(crate) kept: Duration,
    request: Schema,
    response: Schema,
    fields: Fields,
}

/// The paths of the fields that describe a job; empty for `call`.
#[derive(Debug, Default)]
struct Fields {
    key: Vec<String>,
    status: Vec<String>,
    follow: Vec<String>,
}

impl Fields {
    fn of(settings: &GrpcMethod) -> Self {
        let path = |field: &Option<String>| match field {
            Some(path) => path.split('.').map(str::to_owned).collect(),
            None => Vec::new(),
        };
        Self {
            key: path(&settings.key),
            status: path(&settings.status),
            follow: path(&settings.follow),
        }
    }
}

impl Method {
    /// Reads the schemas of a method, which nest at most `depth` levels, and checks its fields.
    ///
    /// # Errors
    ///
    /// [`DoorError::File`] with the schema file that cannot be used.
    pub(crate) fn load(settings: &GrpcMethod, depth: usize) -> Result<Self, DoorError> {
        let GrpcMethod { does, job, kept, .. } = settings;
        let request = schema(&settings.request, depth)?;
        let response = schema(&settings.response, depth)?;
        let fields = Fields::of(settings);
        let method = Self { does: *does, job: job.clone(), kept: *kept, request, response, fields };
        if *does != GrpcDoes::Call {
            method.check_request().map_err(|problem| wrong(&settings.request, problem))?;
            method.check_response().map_err(|problem| wrong(&settings.response, problem))?;
        }
        Ok(method)
    }

    fn check_request(&self) -> Result<(), String> {
        let Fields { key, follow, .. } = &self.fields;
        if self.does == GrpcDoes::Monitor {
            takes(&self.request, key, &["\"x\""])?;
        }
        if !follow.is_empty() {
            takes(&self.request, follow, &["true"])?;
        }
        Ok(())
    }

    fn check_response(&self) -> Result<(), String> {
        let Fields { key, status, follow } = &self.fields;
        takes(&self.response, key, &["\"x\""])?;
        let states = [JobState::Pending, JobState::Processing, JobState::Success, JobState::Error];
        let states = states.map(|state| json::quoted(state.as_str()));
        takes(&self.response, status, &states.each_ref().map(String::as_str))?;
        if self.does == GrpcDoes::Init && self.response.at(follow).is_some() && !follow.is_empty() {
            takes(&self.response, follow, &["null"])?;
        }
        let of_request = self.request.fields().unwrap_or_default();
        for field in self.response.fields().unwrap_or_default() {
            let is_set = [key, status].iter().any(|path| **path == [field.name.clone()]);
            let is_known = of_request.iter().any(|other| other.name == field.name);
            if !is_set && !is_known && field.default.is_none() {
                return Err(format!(
                    "the field `{}` is neither in the request's schema nor has a default",
                    field.name
                ));
            }
        }
        Ok(())
    }

    /// Returns a request as JSON.
    ///
    /// # Errors
    ///
    /// If it is not a datum of the request's schema.
    pub(crate) fn read(
        &self,
        datum: &[u8],
        bounds: ReadBounds,
    ) -> Result<Box<RawValue>, ReadError> {
        read(&self.request, datum, bounds)
    }

    /// Returns an answer as a datum.
    ///
    /// # Errors
    ///
    /// If it is not a value of the response's schema, or larger than `limit` bytes.
    pub(crate) fn answer(&self, answer: &RawValue, limit: usize) -> Result<Vec<u8>, WriteError> {
        write(&self.response, answer, Unknown::Refused, limit)
    }

    /// Returns the id of the job that a request names; `None` if it names none.
    pub(crate) fn key(&self, request: &RawValue) -> Option<String> {
        let key = json::at(request.get(), &self.fields.key)?;
        let key = Some(key).filter(|key| json::kind(key) == Kind::Text).and_then(json::text)?;
        Some(key.into_owned()).filter(|key| !key.is_empty())
    }

    /// Returns `true` if a request wants a stream to the end of the job.
    pub(crate) fn follows(&self, request: &RawValue) -> bool {
        let follow = &self.fields.follow;
        !follow.is_empty() && json::at(request.get(), follow) == Some("true")
    }

    /// Returns the datum with the state of a job: the request's record with its id, if
    /// there is one, and the state. In the frames of `init`, the field `follow` is null.
    ///
    /// # Errors
    ///
    /// If the request's record does not fit the response's schema.
    pub(crate) fn frame(
        &self,
        request: &RawValue,
        id: Option<&str>,
        state: JobState,
        limit: usize,
    ) -> Result<Vec<u8>, WriteError> {
        let Fields { key, status, follow } = &self.fields;
        let mut record = request.get().to_owned();
        if let Some(id) = id {
            record = json::with(&record, key, &json::quoted(id));
        }
        record = json::with(&record, status, &json::quoted(state.as_str()));
        if self.does == GrpcDoes::Init && !follow.is_empty() {
            record = json::with(&record, follow, "null");
        }
        // Valid, since its parts are.
        let record: &RawValue = serde_json::from_str(&record).unwrap_or(request);
        write(&self.response, record, Unknown::Ignored, limit)
    }
}

/// Checks that a field takes these values.
fn takes(schema: &Schema, path: &[String], values: &[&str]) -> Result<(), String> {
    let name = path.join(".");
    let field = schema.at(path).ok_or_else(|| format!("there is no field `{name}`"))?;
    for value in values {
        let value: &RawValue = serde_json::from_str(value).map_err(|error| error.to_string())?;
        if write(field, value, Unknown::Refused, usize::MAX).is_err() {
            return Err(format!("the field `{name}` does not take {value}"));
        }
    }
    Ok(())
}

/// Reads a schema file.
fn schema(file: &Path, depth: usize) -> Result<Schema, DoorError> {
    let text = schema_text(file)?;
    Schema::parse(&text, depth).map_err(|error| wrong(file, error.to_string()))
}

/// Returns the text of a schema file, of bounded size.
pub(crate) fn schema_text(file: &Path) -> Result<String, DoorError> {
    let unreadable = |error: std::io::Error| wrong(file, error.to_string());
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut text = String::new();
    let size = opened.take(LARGEST_SCHEMA + 1).read_to_string(&mut text).map_err(unreadable)?;
    if size as u64 > LARGEST_SCHEMA {
        return Err(wrong(file, format!("it has more than {LARGEST_SCHEMA} bytes")));
    }
    Ok(text)
}

fn wrong(file: &Path, problem: String) -> DoorError {
    DoorError::File { file: file.to_path_buf(), problem }
}
