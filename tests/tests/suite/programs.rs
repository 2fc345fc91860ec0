//! The programs as people run them.

mod background;
mod bench;
mod call;
mod cancel;
mod chaos;
mod console;
mod dead;
mod device;
mod doctor;
mod embedded;
mod ends;
mod events;
mod follow;
mod help;
mod output;
mod pause;
mod peers;
mod reload;
mod rights;
mod safety;
mod show;
mod status;
mod tokens;
mod wrong_server;
