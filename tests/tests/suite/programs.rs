//! The programs as people run them.

mod call;
mod cancel;
mod dead;
mod ends;
mod help;
mod pause;
mod reload;
mod show;
