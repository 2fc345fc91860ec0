//! The bytes of a datum, read from the front.

use crate::grpc_avro::avro::read::Fault;

/// The rest of a datum.
pub(crate) struct Input<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads this many bytes. Nothing is reserved for them: they must be there.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::End)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads this many bytes, as many as the array holds.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Fault::End)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads a whole number of 64 bits: at most 10 bytes, the last with at most one bit.
    pub(crate) fn long(&mut self) -> Result<i64, Fault> {
        let mut bits = 0_u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            if shift == 63 && byte > 1 {
                break;
            }
            bits |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        Err(Fault::Number)
    }

    /// Reads a whole number of 32 bits.
    pub(crate) fn int(&mut self) -> Result<i32, Fault> {
        i32::try_from(self.long()?).map_err(|_| Fault::Int)
    }

    /// Reads a length, and that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.long()?).map_err(|_| Fault::Length)?;
        self.take(length)
    }

    /// Reads a length, and a text of that many bytes.
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        str::from_utf8(self.bytes()?).map_err(|_| Fault::Utf8)
    }

    /// Reads a position among `count`.
    pub(crate) fn index(&mut self, count: usize, fault: Fault) -> Result<usize, Fault> {
        let index = usize::try_from(self.long()?).ok();
        index.filter(|index| *index < count).ok_or(fault)
    }
}
