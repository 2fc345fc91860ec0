//! Why a command of the example failed, and its exit code.

use redcall_client::StoreError;
use redcall_common::output::Unwritten;
use redcall_common::report::Problem;
use redcall_common::settings::SettingsError;
use redcall_store::embedded::EmbeddedError;
use redcall_worker::WorkerError;

/// The message and the exit code.
pub(crate) struct Failure {
    pub(crate) problems: Vec<Problem>,
    pub(crate) code: u8,
}

impl Failure {
    /// A failure at run time.
    pub(crate) fn new(problem: Problem) -> Self {
        Self { problems: vec![problem], code: 1 }
    }

    /// Invalid flags or settings.
    pub(crate) fn usage(problem: Problem) -> Self {
        Self { problems: vec![problem], code: 2 }
    }

    /// A failure whose message was printed already.
    pub(crate) fn silent(code: u8) -> Self {
        Self { problems: Vec::new(), code }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self { problems: Problem::settings(&error), code: 2 }
    }
}

impl From<Unwritten> for Failure {
    /// A closed pipe prints no error: its reader, such as `head`, ended on purpose.
    fn from(error: Unwritten) -> Self {
        let problems = if error.is_closed() { vec![] } else { vec![Problem::unwritten(&error)] };
        Self { problems, code: error.exit_code() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = if matches!(error, StoreError::Config { .. }) { 2 } else { 3 };
        Self { problems: vec![Problem::from(&error)], code }
    }
}

impl From<EmbeddedError> for Failure {
    fn from(error: EmbeddedError) -> Self {
        Self { problems: vec![Problem::of(&error)], code: 3 }
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Settings(error) => error.into(),
            WorkerError::Store(error) => error.into(),
            WorkerError::Mapping { .. } | WorkerError::Handler { .. } => {
                Self::usage(Problem::of(&error))
            }
            WorkerError::Rights { .. }
            | WorkerError::Listen { .. }
            | WorkerError::System(_)
            | WorkerError::IoThreadEnded => Self::new(Problem::of(&error)),
        }
    }
}
