//! The hash of the numbers by which a worker knows its jobs. It counts them itself: no request can
//! choose one, so that the hash needs no secret and costs one multiplication.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds the hasher of a map whose keys are serial numbers.
pub(super) type BySerial = BuildHasherDefault<SerialHasher>;

/// See the module.
#[derive(Default)]
pub(super) struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, serial: u64) {
        // Fibonacci hashing: consecutive numbers differ in the upper and the lower bits.
        self.0 = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
