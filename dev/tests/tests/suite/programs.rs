//! The programs as users run them.

mod addresses;
mod bench;
mod chaos;
mod competitors;
mod console;
mod doctor;
mod events;
mod foreign;
mod help;
mod output;
mod signals;
mod wrong_server;

/// The verbs about one job.
mod calls {
    mod call;
    mod cancel;
    mod device;
    mod follow;
    mod reads;
    mod status;
}
/// The verbs about queues.
mod queues {
    mod dead;
    mod pause;
    mod show;
    mod signed;
}
/// The worker as a program.
mod workers {
    mod background;
    mod embedded;
    mod ends;
    mod reload;
    mod rights;
    mod safety;
    mod tokens;
}
