//! A job that ends with the code that its data name: every code on the wire of a protocol.

use redcall_client::Code;
use redcall_worker::{HandlerError, Json, Worker};
use serde_json::{Value, json};

/// Adds the job `name`, whose data are the name of a code.
pub(crate) fn with_codes(worker: Worker, name: &str) -> Worker {
    worker.handler(name, async |Json(code): Json<String>| -> Result<Json<Value>, HandlerError> {
        Err(error(&code))
    })
}

/// The error of a handler that ends with this code.
pub(crate) fn error(code: &str) -> HandlerError {
    let code = Code::parse(code).unwrap_or_else(|| panic!("no code {code}"));
    HandlerError::with_code(code, message(code)).data(&json!({"of": code.as_str()}))
}

/// Its message.
pub(crate) fn message(code: Code) -> String {
    format!("the job says {code}")
}

/// Pairs each code with its form on the wire.
///
/// # Panics
///
/// If a code has none, or two.
#[track_caller]
pub(crate) fn table<T: Copy>(rows: &[(&[Code], T)]) -> Vec<(Code, T)> {
    let of = |code: &Code| {
        let mut found = rows.iter().filter(|(codes, _)| codes.contains(code));
        let form = found.next().unwrap_or_else(|| panic!("{code} has no form")).1;
        assert!(found.next().is_none(), "{code} has two forms");
        (*code, form)
    };
    Code::ALL.iter().map(of).collect()
}
