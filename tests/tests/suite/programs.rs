//! The programs as people run them.

mod call;
mod cancel;
mod ends;
mod help;
mod reload;
mod show;
