//! `redcall settle`.

use std::io::Read;

use clap::Args;
use redcall_client::{Client, Code, CompletionToken, SettleError, WireError};
use redcall_common::output as out;
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use crate::verb::ClientVerb;
use crate::verbs::calls::call;
use redcall_common::failure::{Failure, json};

/// The long help of the verb.
pub(crate) const HELP: &str = "\
Settle a deferred answer with its completion token

The token is read from REDCALL_TOKEN, or else from the first line of stdin: other users of
this machine can see arguments.";
/// Environment variable that holds the token.
const VARIABLE: &str = "REDCALL_TOKEN";

/// The result to settle with.
#[derive(Args)]
pub(crate) struct Settle {
    /// Answer as JSON; with --error, the data of the error; - reads it from stdin, after the
    /// token's line
    #[arg(default_value = "null")]
    data: String,
    /// Answer with an error: a code such as handler_failed, and a message
    #[arg(long, num_args = 2, value_names = ["CODE", "MESSAGE"])]
    error: Vec<String>,
}

/// The token and the result.
type Ready = (CompletionToken, Result<Box<RawValue>, WireError>);

/// Where the codes are listed.
const CODES: &str = "docs/reference/errors.md";

impl Settle {
    /// Reads the token and the data.
    fn read(self) -> Result<Ready, Failure> {
        let mut input = String::new();
        let given = std::env::var(VARIABLE).ok();
        if given.is_none() || self.data == "-" {
            let read = std::io::stdin().read_to_string(&mut input);
            read.map_err(|error| wrong(format!("stdin cannot be read: {error}")))?;
        }
        let (token, rest) = match &given {
            Some(token) => (token.trim(), input.as_str()),
            None => {
                let (line, rest) = input.split_once('\n').unwrap_or((&input, ""));
                (line.trim(), rest)
            }
        };
        let token = token.parse::<CompletionToken>().map_err(|error| wrong(error.to_string()))?;
        let data = if self.data == "-" { rest } else { &self.data };
        let data: Box<RawValue> =
            serde_json::from_str(data).map_err(|error| call::usage(&error))?;
        let result = match self.error.as_slice() {
            [code, message] => {
                let code = Code::parse(code).ok_or_else(|| {
                    wrong(format!(
                        "`{code}` is not a valid error code: expected one of those in {CODES}"
                    ))
                })?;
                let data = Some(data).filter(|data| data.get() != "null");
                Err(WireError { data, ..WireError::new(code, message) })
            }
            _ => Ok(data),
        };
        Ok((token, result))
    }
}

impl ClientVerb for Settle {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let (token, result) = self.read()?;
        let id = token.id();
        let settled = client.settle(&token, result).await.map_err(|error| failed(&error))?;
        if !settled {
            let message = format!("{id}: already settled by another process");
            let json = serde_json::json!({ "id": id, "settled": false });
            return Err(Failure { problems: vec![Problem::new(message)], code: 1, json });
        }
        let text = match as_json {
            true => serde_json::json!({ "id": id, "settled": true }).to_string(),
            false => format!("{id}: settled"),
        };
        Ok(out::line(text).map_err(|error| error.after(format!("The job {id} is settled.")))?)
    }
}

/// The failure for invalid input.
fn wrong(message: String) -> Failure {
    let json = json(Code::InvalidRequest.as_str(), &message);
    let help = format!("Give the token as {VARIABLE}, or as the first line of stdin.");
    Failure { problems: vec![Problem::new(message).help(help)], code: 2, json }
}

fn failed(error: &SettleError) -> Failure {
    if let SettleError::Store(error) = error {
        return Failure::from(error);
    }
    let code = error.code();
    let exit = if code == Code::Unavailable { 3 } else { 1 };
    let json = json(code.as_str(), &error.to_string());
    Failure { problems: vec![Problem::of(error)], code: exit, json }
}
