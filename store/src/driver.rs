//! Errors of the driver, and their classes. Only the store sees them.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{Cause, CauseClass, StoreError};

impl Cause {
    pub(crate) fn of_driver(error: RedisError) -> Arc<Self> {
        let (code, detail) = (error.code().unwrap_or("ERR"), error.detail().unwrap_or_default());
        Arc::new(Self::new(class(&error), code, detail, Box::new(error.clone())))
    }
}

fn class(error: &RedisError) -> CauseClass {
    match error.code() {
        Some("READONLY") => return CauseClass::Replica,
        Some("OOM") => return CauseClass::Memory,
        Some("NOAUTH" | "WRONGPASS") => return CauseClass::Login,
        Some("NOPERM") => return CauseClass::Rights,
        Some("MISCONF") => return CauseClass::Disk,
        Some("NOREPLICAS") => return CauseClass::Replicas,
        Some("LOADING") => return CauseClass::Loading,
        Some("WRONGTYPE") => return CauseClass::KeyType,
        _ => {}
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => CauseClass::Login,
        ErrorKind::Server(ServerErrorKind::MasterDown) => CauseClass::PrimaryDown,
        ErrorKind::Server(ServerErrorKind::ClusterDown) => CauseClass::ClusterDown,
        ErrorKind::Server(_) | ErrorKind::Extension => CauseClass::Other,
        ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => CauseClass::Settings,
        _ => CauseClass::Connection,
    }
}

impl StoreError {
    /// Converts an error of a command on a connection. Not by `From`: the driver's type would be in
    /// the interface.
    pub(crate) fn of_driver(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                // The first failure of a pipeline is the cause; it has its own code.
                let first = error.clone().into_server_errors().and_then(|all| all.first().cloned());
                let error = first.map_or(error, |(_, first)| first.into());
                Self::Refused(Cause::of_driver(error))
            }
            ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => {
                Self::Config { problem: error.to_string(), source: Some(Cause::of_driver(error)) }
            }
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Unexpected("a command"),
            _ => Self::Lost(Cause::of_driver(error)),
        }
    }
}

/// Results of the driver as results of the store.
pub(crate) trait OrStore<T> {
    /// Converts its error by [`StoreError::of_driver`].
    fn or_store(self) -> Result<T, StoreError>;
}

impl<T, E: Into<RedisError>> OrStore<T> for Result<T, E> {
    #[inline]
    fn or_store(self) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::of_driver(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    /// The error of a server that answers with this line.
    fn answered(line: &str) -> RedisError {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        reply.extract_error().unwrap_err()
    }

    #[test]
    fn answer_of_each_code_has_its_class_text_and_help() {
        for (line, class, text, help) in [
            ("READONLY x", CauseClass::Replica, ": the server is a read-only replica", "Name the"),
            ("OOM x", CauseClass::Memory, ": the server is out of memory", "Raise its"),
            ("NOAUTH x", CauseClass::Login, ": wrong user or password", "Check user and password"),
            ("WRONGPASS x", CauseClass::Login, ": wrong user or password", "Check user and"),
            ("NOPERM x", CauseClass::Rights, ": the user lacks the right (NOPERM x)", "`redcall"),
            ("MISCONF x", CauseClass::Disk, ": the server cannot write to its disk", "Its log"),
            ("NOREPLICAS x", CauseClass::Replicas, ": too few replicas are connected", "See `min"),
            ("LOADING x", CauseClass::Loading, ": the server is still loading its", "Retry when"),
            ("WRONGTYPE x", CauseClass::KeyType, " (WRONGTYPE x)", "One of Redcall's keys"),
            ("MASTERDOWN x", CauseClass::PrimaryDown, " (MASTERDOWN x)", "Check user, password"),
            ("CLUSTERDOWN x", CauseClass::ClusterDown, " (CLUSTERDOWN x)", "Check user, password"),
            ("ERR x", CauseClass::Other, " (ERR x)", "Check user, password"),
        ] {
            let error = StoreError::of_driver(answered(line));
            let StoreError::Refused(cause) = &error else { panic!("{line}: {error:?}") };
            assert_eq!(cause.class(), class, "{line}");
            let expected = format!("Redis refused a command{text}");
            assert!(error.to_string().starts_with(&expected), "{line}: {error}");
            assert!(error.help().starts_with(help), "{line}: {}", error.help());
            assert_eq!(error.is_out_of_memory(), class == CauseClass::Memory);
            assert_eq!(error.is_of_the_key(), class == CauseClass::KeyType);
            assert_eq!(error.is_of_rights(), class == CauseClass::Rights);
            let of_the_server = ["READONLY", "MASTERDOWN", "LOADING", "CLUSTERDOWN"];
            let expected = of_the_server.iter().any(|code| line.starts_with(code));
            assert_eq!(error.is_of_the_server(), expected, "{line}");
        }
    }

    #[test]
    fn cause_is_the_text_of_the_driver_without_its_type() {
        let driver = answered("ERR too many");
        let error = StoreError::of_driver(driver.clone());
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), driver.to_string());
        let mut next = Some(source);
        while let Some(cause) = next {
            assert!(!cause.is::<RedisError>());
            next = cause.source();
        }

        let lost: RedisError = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        let StoreError::Lost(cause) = StoreError::of_driver(lost) else { panic!("it was lost") };
        assert_eq!(cause.class(), CauseClass::Connection);
        assert!(cause.source().is_some());
    }
}
