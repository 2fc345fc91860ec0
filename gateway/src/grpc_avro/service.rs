//! One call: from its request to its response.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method as Verb, Request, Response, StatusCode};
use redcall_client::{Code, JobState, RequestBuilder};
use redcall_common::name::is_id;
use redcall_common::settings::{GrpcAvroSettings, GrpcDoes};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::door::{Door, Failure};
use crate::error::DoorError;
use crate::grpc_avro::avro::{ReadBounds, WriteError};
use crate::grpc_avro::method::Method;
use crate::grpc_avro::response::{self, Reply, ReplyBody};
use crate::grpc_avro::states::Follow;
use crate::grpc_avro::wire::encoding::Encoding;
use crate::grpc_avro::wire::message::{ReadLimits, read_message};
use crate::grpc_avro::wire::status::{GrpcCode, Status};
use crate::grpc_avro::wire::timeout::timeout;

/// The longest stream of a caller that sets no `grpc-timeout`.
const LONGEST_STREAM: Duration = Duration::from_secs(24 * 60 * 60);

/// The queue of a job that has none in the settings.
const DEFAULT_QUEUE: &str = "default";

/// The methods of a door.
pub(crate) struct Service {
    pub(crate) door: Arc<Door>,
    /// By path.
    methods: BTreeMap<String, Arc<Method>>,
    bounds: ReadBounds,
}

/// The caller of a connection.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Its address.
    pub(crate) peer: Arc<str>,
    pub(crate) limits: ReadLimits,
}

/// The end of a request that is not a call of the door.
enum Refused {
    /// It is not gRPC.
    Http(StatusCode),
    Status(Status),
}

impl<T: Into<Status>> From<T> for Refused {
    fn from(status: T) -> Self {
        Self::Status(status.into())
    }
}

/// The times at which a call ends.
struct Deadlines {
    /// Of all but a stream of states.
    short: Instant,
    /// `true` if the caller has set it.
    is_callers: bool,
    /// Of a stream of states.
    stream: Instant,
}

impl Deadlines {
    /// Waits for Redis. A wait up to the door's own limit means that Redis is not reachable.
    async fn redis<T>(
        &self,
        reply: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        timeout_at(self.short, reply).await.unwrap_or_else(|_| {
            let code = if self.is_callers { Code::DeadlineExceeded } else { Code::Unavailable };
            Err(Failure::new(code, "Redis did not answer in time; the job may be queued"))
        })
    }
}

impl Service {
    /// Loads the schemas of a door.
    ///
    /// # Errors
    ///
    /// [`DoorError::File`] with the schema file that cannot be used.
    pub(crate) fn new(door: Arc<Door>, settings: &GrpcAvroSettings) -> Result<Self, DoorError> {
        let limits = &door.all_settings().limits;
        let methods = settings
            .methods
            .values()
            .map(|method| Ok((method.path.clone(), Arc::new(Method::load(method, limits.depth)?))));
        let methods = methods.collect::<Result<_, DoorError>>()?;
        let bounds = ReadBounds { message: door.settings().message, json: limits.request };
        Ok(Self { door, methods, bounds })
    }

    /// Answers a request. Dropping the future withdraws a waited job.
    pub(crate) async fn answer<B>(
        self: Arc<Self>,
        caller: Caller,
        request: Request<B>,
    ) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        match self.reply(&caller, &head, body).await {
            Ok(reply) => response::streamed(reply),
            Err(Refused::Status(status)) => response::ended(&status),
            Err(Refused::Http(code)) => {
                self.door.refuse(&caller.peer, "not_grpc");
                response::not_grpc(code)
            }
        }
    }

    async fn reply<B>(&self, caller: &Caller, head: &Parts, body: B) -> Result<Reply, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        check_form(head).map_err(Refused::Http)?;
        let path = head.uri.path();
        let Some(method) = self.methods.get(path) else {
            self.door.refuse(&caller.peer, "unknown_method");
            return Err(Status::new(GrpcCode::Unimplemented, "unknown method").into());
        };
        let deadlines = self.deadlines(head)?;
        let message = timeout_at(deadlines.short, self.message(caller, head, body)).await;
        let message = message.unwrap_or_else(|_| {
            let message = "the request's message did not arrive in time";
            Err(Status::new(GrpcCode::DeadlineExceeded, message))
        })?;
        let record = method.read(&message, self.bounds).map_err(|error| {
            if error.is_too_large() {
                self.door.refuse(&caller.peer, "too_large");
                let message = format!("the message has more than {} bytes", self.bounds.json);
                return Status::new(GrpcCode::ResourceExhausted, message);
            }
            self.door.refuse(&caller.peer, "malformed");
            let message = format!("the message is not a datum of the method's schema: {error}");
            Status::new(GrpcCode::InvalidArgument, message)
        })?;
        drop(message);
        Ok(match method.does {
            GrpcDoes::Init => self.init(caller, method, record, &deadlines).await,
            GrpcDoes::Monitor => self.monitor(caller, method, record, &deadlines).await,
            GrpcDoes::Call => self.call(caller, method, &record, &deadlines).await,
        }?)
    }

    fn deadlines(&self, head: &Parts) -> Result<Deadlines, Status> {
        let given = head.headers.get("grpc-timeout").map(|header| {
            let malformed = || Status::new(GrpcCode::InvalidArgument, "grpc-timeout is malformed");
            timeout(header.as_bytes()).ok_or_else(malformed)
        });
        let given = given.transpose()?;
        let of = |max: Duration| Instant::now() + given.map_or(max, |given| given.min(max));
        let short = self.door.settings().timeout;
        Ok(Deadlines {
            short: of(short),
            is_callers: given.is_some_and(|given| given < short),
            // A day at most, also if the caller sets more.
            stream: of(LONGEST_STREAM),
        })
    }

    async fn message<B>(&self, caller: &Caller, head: &Parts, body: B) -> Result<Vec<u8>, Status>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let encoding = head.headers.get("grpc-encoding").map(hyper::header::HeaderValue::as_bytes);
        let read = read_message(body, Encoding::of(encoding)?, &caller.limits).await;
        if let Err(status) = &read {
            let why = match status.code {
                GrpcCode::ResourceExhausted => "too_large",
                GrpcCode::Cancelled => "cancelled",
                _ => "malformed",
            };
            self.door.refuse(&caller.peer, why);
        }
        read
    }

    /// Begins a job.
    async fn init(
        &self,
        caller: &Caller,
        method: &Arc<Method>,
        record: Box<RawValue>,
        deadlines: &Deadlines,
    ) -> Result<Reply, Status> {
        let (door, limit) = (&self.door, self.bounds.message);
        let request = self.request(caller, method, &record)?;
        // Before anything is queued: a record that no frame can carry.
        method.frame(&record, Some("x"), JobState::Pending, limit).map_err(unfit)?;
        let request = request.track_status(method.kept);
        let sending = door.send(&method.job, &caller.peer, request);
        let receipt = deadlines.redis(sending).await?;
        let frame = method.frame(&record, Some(&receipt.id), JobState::Pending, limit);
        let frame = frame.map_err(unfit)?;
        if !method.follows(&record) {
            return Ok(Reply::One(frame));
        }
        let follow = Follow {
            door: self.door.clone(),
            method: method.clone(),
            queue: receipt.queue,
            id: receipt.id,
            record,
            last: JobState::Pending,
            held: None,
            deadline: deadlines.stream,
            limit,
        };
        Ok(Reply::Stream(frame, Box::new(follow)))
    }

    /// Returns the state of a job.
    async fn monitor(
        &self,
        caller: &Caller,
        method: &Arc<Method>,
        record: Box<RawValue>,
        deadlines: &Deadlines,
    ) -> Result<Reply, Status> {
        let (door, limit) = (&self.door, self.bounds.message);
        let Some(id) = method.key(&record) else {
            let frame = method.frame(&record, None, JobState::Error, limit);
            return frame.map(Reply::One).map_err(unfit);
        };
        let queue = self.queue_of(&method.job);
        let found = match is_id(&id) && door.may_call(&method.job) {
            true => {
                let reading = door.client().status((&*queue, &*id));
                deadlines.redis(async { Ok(reading.await?) }).await
            }
            false => Err(Failure::new(Code::NotFound, "no status is kept for this job")),
        };
        door.ended(&method.job, &caller.peer, &id, found.as_ref().err());
        let last = found?.state;
        let frame = method.frame(&record, None, last, limit).map_err(unfit)?;
        if !method.follows(&record) || last.ends() {
            return Ok(Reply::One(frame));
        }
        let follow = Follow {
            door: self.door.clone(),
            method: method.clone(),
            queue,
            id,
            record,
            last,
            held: None,
            deadline: deadlines.stream,
            limit,
        };
        Ok(Reply::Stream(frame, Box::new(follow)))
    }

    /// Calls a job and waits for its answer.
    async fn call(
        &self,
        caller: &Caller,
        method: &Method,
        data: &RawValue,
        deadlines: &Deadlines,
    ) -> Result<Reply, Status> {
        let left = deadlines.short.saturating_duration_since(Instant::now());
        let request = self.request(caller, method, data)?.timeout(left);
        let response = self.door.wait(&method.job, &caller.peer, request).await?;
        let answer = method.answer(&response.data, self.bounds.message);
        answer.map(Reply::One).map_err(unfit)
    }

    fn request(
        &self,
        caller: &Caller,
        method: &Method,
        data: &RawValue,
    ) -> Result<RequestBuilder, Failure> {
        let request = self.door.request(&method.job, data, &caller.peer);
        request.map_err(|failure| self.door.rejected(&method.job, &caller.peer, failure))
    }

    /// Returns the queue of a job, as its requests get it.
    fn queue_of(&self, job: &str) -> String {
        let own = self.door.all_settings().jobs.get(job).and_then(|job| job.queue.clone());
        let of_door = || self.door.settings().inward.queue.clone();
        own.or_else(of_door).unwrap_or_else(|| DEFAULT_QUEUE.to_owned())
    }
}

fn check_form(head: &Parts) -> Result<(), StatusCode> {
    if head.method != Verb::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    match kind.strip_prefix(b"application/grpc") {
        Some([] | [b'+' | b';', ..]) => Ok(()),
        _ => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    }
}

/// The end of a call whose response does not fit its schema.
pub(crate) fn unfit(error: WriteError) -> Status {
    if error.is_too_large() {
        return Status::new(GrpcCode::ResourceExhausted, format!("the response: {error}"));
    }
    let message = format!("the response is not a value of its schema: {error}");
    Status::new(GrpcCode::Internal, message)
}
