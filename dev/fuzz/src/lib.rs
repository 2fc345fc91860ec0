//! The assertions of the fuzz targets, one file per target.
//!
//! Each format that Redcall reads and others write: elements of a queue, frames, script results,
//! settings. Each check asserts more than the absence of panics; its file lists the assertions.
//!
//! | how | runs |
//! |---|---|
//! | `cargo xtask fuzz` | every target for a while, from `corpus/`, on stable Rust |
//! | `cargo fuzz run --sanitizer none TARGET` | one target, if cargo-fuzz is installed |
//! | `tests/corpus.rs` | the inputs of `corpus/`, with all other tests |
//! | a target, built as usual | the files that it is given: for a debugger |

pub mod envelope;
pub mod frames;
pub mod gateway_bgpy;
pub mod pickle;
pub mod script_results;
pub mod settings;

mod printed;

/// The parts of every target that libFuzzer needs.
#[cfg(fuzzing)]
#[doc(hidden)]
pub use libfuzzer_sys;

/// Memory is bounded: no input, of a few KiB each, may make its reader allocate more than this.
/// Beyond it the process ends, and libFuzzer prints the input.
#[cfg(fuzzing)]
#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 64 << 20);

/// The program around a check: a fuzzer's in a fuzzing build, else one that reads files.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| $check(input));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for file in std::env::args_os().skip(1) {
                $check(&std::fs::read(file)?);
            }
            Ok(())
        }
    };
}
