//! Whatever lies in a queue, whoever pushed it: the worker answers, buries, and goes on.

mod absent;
mod elements;
mod fuzz;
mod handlers;
mod nested;
mod refused;
mod unreadable;
