//! The programs as people run them.

mod asked;
mod background;
mod bench;
mod call;
mod cancel;
mod chaos;
mod console;
mod dead;
mod device;
mod doctor;
mod ends;
mod events;
mod follow;
mod foreign;
mod help;
mod output;
mod pause;
mod peers;
mod reload;
mod rights;
mod safety;
mod show;
mod signals;
mod status;
mod tokens;
