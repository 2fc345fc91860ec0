//! The programs as people run them.

mod call;
mod dead;
mod ends;
mod help;
mod pause;
mod show;
