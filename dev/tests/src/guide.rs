//! The Rust blocks of the guide, as documentation tests: each of them compiles.

/// A page of the guide.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = include_str!(concat!("../../../docs/guide/", $file))]
        pub mod $name {}
    };
}

page!(calling, "calling.md");
page!(deferred_answers, "deferred-answers.md");
page!(events, "events.md");
page!(gateway_pm, "gateway-pm.md");
page!(handlers, "handlers.md");
page!(services, "services.md");
page!(status, "status.md");
page!(streaming, "streaming.md");
