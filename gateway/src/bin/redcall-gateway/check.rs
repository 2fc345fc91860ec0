//! `redcall-gateway check`: prints the doors of the settings, and every problem that would keep
//! them from opening. Binds no address: a gateway with the same settings may run.

use std::process::ExitCode;

use redcall_common::failure::Failure;
use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_gateway::{Gateway, GatewayError, overview};

use super::{fail, problem};

/// Checks the settings, and prints. The exit code is 2 if the doors would not open.
pub(super) async fn run(settings: Settings) -> ExitCode {
    let mut lines = overview(&settings);
    let mut problems: Vec<Problem> = Vec::new();
    if settings.gateways.is_empty() {
        problems.push(problem(&GatewayError::NoDoors).0);
    }
    problems.extend(Gateway::check(&settings).iter().map(|error| problem(error).0));
    match Gateway::check_redis(&settings).await {
        Ok(address) => lines.push(format!("redis: {address} answers")),
        Err(error) => problems.push(problem(&error).0),
    }
    if problems.is_empty() {
        for checked in Gateway::check_doors(&settings).await {
            match checked {
                Ok((door, address)) => lines.push(format!("redis of {door}: {address} answers")),
                Err(error) => problems.push(problem(&error).0),
            }
        }
    }
    if let Err(error) = lines.into_iter().try_for_each(out::line) {
        return Failure::from(error).end(false);
    }
    let code = if problems.is_empty() { 0 } else { 2 };
    fail(problems, code)
}
