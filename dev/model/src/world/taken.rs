//! A request in the hands of a worker.

use crate::store::Leased;

/// The frame that ends a request.
pub(super) const END: u8 = 1;

/// A leased request, with facts that only the checker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taken {
    /// The part that the worker receives.
    pub leased: Leased,
    /// `true` if it had been cancelled when it was leased.
    pub cancelled: bool,
    /// `true` if it had crashed too many workers.
    pub poisoned: bool,
}
