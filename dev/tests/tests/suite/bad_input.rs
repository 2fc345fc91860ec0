//! For any element in a queue, from any client: the worker answers or dead-letters it, and
//! continues.

mod absent;
mod elements;
mod fuzz;
mod handlers;
mod nested;
mod refused;
mod unreadable;
