//! Messages: an object with a type and arguments, as a pickle.

use redcall_client::ServiceOp;
use serde_json::value::RawValue;

use crate::pickle::{Bounds, Classes, Document, Node, Refused, Writer, read_objects};

/// Size and depth of the first message, before the token is known.
const FIRST: Bounds = Bounds { bytes: 4 << 10, depth: 4 };

const CLASSES: Classes = Classes {
    object: ("bgpy.core.message", "Message"),
    member: ("bgpy.core.message", "MessageType"),
    highest: 5,
};

/// The values of the enumeration of types.
mod kind {
    pub(super) const INIT: u8 = 0;
    pub(super) const EXEC: u8 = 1;
    pub(super) const EXIT: u8 = 2;
    pub(super) const AUTH: u8 = 3;
    pub(super) const OK: u8 = 4;
    pub(super) const ERROR: u8 = 5;
}

/// The keys of the three tasks in the arguments of INIT.
const TASKS: [&str; 3] = ["init_task", "exec_task", "exit_task"];

/// The names of a service's three tasks: init, execute, exit.
pub type Tasks = [String; 3];

/// A message of a client.
#[derive(Debug)]
pub enum Message {
    /// A token; none if the client has none.
    Auth(Option<String>),
    /// Create the state with these tasks; `None` if it does not name three.
    Init(Option<Tasks>),
    /// Run a task.
    Call(Call),
    /// The client's receipt of an answer.
    Receipt,
}

/// A request to run the task `execute` or `exit`.
#[derive(Debug)]
pub struct Call {
    /// The task.
    pub op: ServiceOp,
    /// The arguments as JSON; an error if they are not plain data.
    pub args: Result<Box<RawValue>, Refused>,
    /// `true` if the client waits for an answer.
    pub awaits: bool,
}

/// Reads the token from a connection's first message. Nothing else of the message is read,
/// beyond its type.
///
/// # Errors
///
/// If it is not an AUTH message of at most 4 KiB.
pub fn token(pickle: &[u8]) -> Result<Option<String>, Refused> {
    let document = read_objects(pickle, &FIRST, &CLASSES)?;
    match parts(document.root())? {
        (kind::AUTH, args) => {
            no_references(&document, &[])?;
            Ok(text(args, "token"))
        }
        _ => Err(Refused::Shape("not authenticated")),
    }
}

/// Reads a message of an authenticated client.
///
/// # Errors
///
/// If it is not a message, or holds anything but plain data and references.
pub fn message(pickle: &[u8], bounds: &Bounds) -> Result<Message, Refused> {
    let document = read_objects(pickle, bounds, &CLASSES)?;
    let (kind, args) = parts(document.root())?;
    let call = |op| {
        let json = args.json().and_then(|json| {
            RawValue::from_string(json).map_err(|_| Refused::NotJson("arguments"))
        });
        // Arguments that are not plain data are an error of the call, not of the message.
        if json.is_ok() {
            no_references(&document, &[])?;
        }
        let awaits = args.get("await_response").and_then(Node::boolean).unwrap_or_default();
        Ok(Message::Call(Call { op, args: json, awaits }))
    };
    match kind {
        kind::EXEC => return call(ServiceOp::Execute),
        kind::EXIT => return call(ServiceOp::Exit),
        kind::INIT => {
            let places: Vec<Node<'_>> = TASKS.iter().filter_map(|key| args.get(key)).collect();
            no_references(&document, &places)?;
        }
        _ => no_references(&document, &[])?,
    }
    Ok(match kind {
        kind::INIT => Message::Init(tasks(args)),
        kind::AUTH => Message::Auth(text(args, "token")),
        _ => Message::Receipt,
    })
}

/// Refuses references next to the classes of the message itself and `places`.
fn no_references(document: &Document<'_>, places: &[Node<'_>]) -> Result<(), Refused> {
    match document.has_references_beside(places) {
        true => Err(Refused::Object("a reference outside of the tasks of INIT")),
        false => Ok(()),
    }
}

/// Returns the type and the arguments of a message.
fn parts(root: Node<'_>) -> Result<(u8, Node<'_>), Refused> {
    let state = root.state().ok_or(Refused::Shape("not a message"))?;
    let kind = state.get("type").and_then(Node::member).ok_or(Refused::Shape("no type"))?;
    let args = state.get("args").filter(|args| args.entries().is_some());
    Ok((kind, args.ok_or(Refused::Shape("no arguments"))?))
}

fn text(args: Node<'_>, key: &str) -> Option<String> {
    args.get(key).and_then(Node::text).map(str::to_owned)
}

/// Returns the dotted names of the tasks of an INIT.
fn tasks(args: Node<'_>) -> Option<Tasks> {
    let task = |key| {
        let (module, name) = args.get(key)?.reference()?;
        Some(format!("{module}.{name}"))
    };
    let [init, exec, exit] = TASKS;
    Some([task(init)?, task(exec)?, task(exit)?])
}

/// The types of messages to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A receipt, or a success.
    Ok,
    /// An error.
    Error,
}

/// Writes a message with arguments: the JSON text of an object.
///
/// # Errors
///
/// If a value cannot be written, such as half of a surrogate pair.
pub fn write(outcome: Outcome, args: &RawValue) -> Result<Vec<u8>, Refused> {
    let kind = match outcome {
        Outcome::Ok => kind::OK,
        Outcome::Error => kind::ERROR,
    };
    let mut writer = Writer::new();
    writer.reference(CLASSES.object).new_object().none().dict();
    writer.text("type")?.reference(CLASSES.member).member(kind);
    writer.text("args")?.json(args)?;
    writer.end_dict().pair().build();
    Ok(writer.finish())
}

/// Returns the name of a call's type, as receipts have it.
#[must_use]
pub fn type_name(op: ServiceOp) -> &'static str {
    match op {
        ServiceOp::Init => "INIT",
        ServiceOp::Execute => "EXEC",
        ServiceOp::Exit => "EXIT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1 << 20, depth: 64 };

    /// Writes a message whose arguments have the tasks, and references under further `keys`.
    fn with(kind: u8, keys: &[&str]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.reference(CLASSES.object).new_object().none().dict();
        writer.text("type").unwrap().reference(CLASSES.member).member(kind);
        writer.text("args").unwrap().dict();
        for key in keys {
            writer.text(key).unwrap().reference(("m", "f"));
        }
        writer.end_dict().end_dict().pair().build();
        writer.finish()
    }

    #[test]
    fn references_are_accepted_only_as_the_tasks_of_init() {
        let name = || "m.f".to_owned();
        match message(&with(kind::INIT, &TASKS), &BOUNDS) {
            Ok(Message::Init(Some(tasks))) => assert_eq!(tasks, [name(), name(), name()]),
            other => panic!("{other:?}"),
        }
        let four = [&TASKS[..], &["other"]].concat();
        assert!(message(&with(kind::INIT, &four), &BOUNDS).is_err());
        for kind in [kind::AUTH, kind::OK, kind::ERROR] {
            assert!(message(&with(kind, &[]), &BOUNDS).is_ok(), "{kind}");
            assert!(message(&with(kind, &["init_task"]), &BOUNDS).is_err(), "{kind}");
        }
        assert_eq!(token(&with(kind::AUTH, &[])), Ok(None));
        assert!(token(&with(kind::AUTH, &["other"])).is_err());
        for kind in [kind::EXEC, kind::EXIT] {
            match message(&with(kind, &["init_task"]), &BOUNDS) {
                Ok(Message::Call(call)) => assert!(call.args.is_err(), "{kind}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn reference_that_no_value_holds_is_refused() {
        for kind in [kind::AUTH, kind::EXEC, kind::INIT, kind::OK] {
            let mut pickle = with(kind, &[]);
            assert!(message(&pickle, &BOUNDS).is_ok(), "{kind}");
            // In front of all else: GLOBAL, POP.
            pickle.splice(2..2, *b"cos\nsystem\n0");
            assert!(message(&pickle, &BOUNDS).is_err(), "{kind}");
        }
    }
}
