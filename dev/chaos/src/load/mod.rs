//! The callers: what they do, and writing down what they were told.

mod book;
mod caller;
mod looks;

pub(crate) use book::Book;
pub(crate) use caller::Caller;
pub(crate) use looks::Looks;
