//! Errors of calls as statuses of gRPC.

use redcall_client::Code;

use crate::door::Failure;
use crate::grpc_avro::wire::status::{GrpcCode, Status};

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            Code::UnknownJob => GrpcCode::Unimplemented,
            Code::InvalidRequest | Code::InvalidData => GrpcCode::InvalidArgument,
            Code::NotFound => GrpcCode::NotFound,
            Code::Conflict => GrpcCode::Aborted,
            Code::TooLarge | Code::Overloaded => GrpcCode::ResourceExhausted,
            Code::Unauthorized => GrpcCode::PermissionDenied,
            Code::HandlerFailed | Code::HandlerPanicked | Code::Internal => GrpcCode::Internal,
            Code::Timeout | Code::DeadlineExceeded => GrpcCode::DeadlineExceeded,
            Code::Cancelled => GrpcCode::Cancelled,
            Code::WorkerLost | Code::NoWorkers | Code::Unavailable => GrpcCode::Unavailable,
        };
        Self::new(code, failure.message)
    }
}
