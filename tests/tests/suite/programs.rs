//! The programs as people run them.

mod call;
mod ends;
mod help;
mod reload;
mod show;
