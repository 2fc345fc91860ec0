//! Whole numbers of any size: decimal digits from the bytes of a pickle, and back.
//!
//! Conversion takes quadratic time, so each document has a budget of [`Work`].

use std::cell::Cell;

use super::refused::Refused;

/// Decimal digits per step.
const DIGITS: usize = 18;
/// The factor of a step: 10 to the power of [`DIGITS`].
const STEP: u64 = 1_000_000_000_000_000_000;
/// Steps of one document: some tens of milliseconds, or one number of about 38,000 digits.
const STEPS: usize = 4_000_000;

/// The steps that the numbers of one document may still take.
#[derive(Debug)]
pub(super) struct Work(Cell<usize>);

impl Default for Work {
    fn default() -> Self {
        Self(Cell::new(STEPS))
    }
}

impl Work {
    /// Takes the steps for a number of `words` 64-bit words.
    fn take(&self, words: usize) -> Result<(), Refused> {
        // A word has a little more than one step's digits.
        let steps = words.saturating_mul(words);
        self.0.set(self.0.get().checked_sub(steps).ok_or(Refused::TooManyDigits)?);
        Ok(())
    }
}

/// Returns the bytes without those that only repeat the sign.
pub(super) fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., below, last] = bytes {
        let sign = if below & 0x80 == 0 { 0 } else { 0xff };
        if *last != sign {
            break;
        }
        bytes = &bytes[..=rest.len()];
    }
    bytes
}

/// Returns the number if it has at most 64 bits. An empty number is 0.
pub(super) fn small(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [sign; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// Writes a two's complement number, the least significant byte first, as decimal digits.
pub(super) fn to_decimal(bytes: &[u8], work: &Work) -> Result<String, Refused> {
    work.take(bytes.len().div_ceil(8))?;
    let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut words: Vec<u64> = bytes
        .chunks(8)
        .map(|chunk| {
            let mut word = [if is_negative { 0xff } else { 0 }; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        })
        .collect();
    if is_negative {
        negate(&mut words);
    }
    let mut steps = Vec::new();
    while let Some(top) = words.iter().rposition(|word| *word != 0) {
        words.truncate(top + 1);
        steps.push(divide(&mut words));
    }
    let mut decimal = String::from(if is_negative { "-" } else { "" });
    decimal.push_str(&steps.pop().unwrap_or(0).to_string());
    for step in steps.iter().rev() {
        decimal.push_str(&format!("{step:0DIGITS$}"));
    }
    Ok(decimal)
}

/// Reads decimal digits with an optional minus, as bytes of the same form, none more than needed.
pub(super) fn from_decimal(decimal: &str, work: &Work) -> Result<Vec<u8>, Refused> {
    let digits = decimal.strip_prefix('-').unwrap_or(decimal);
    work.take(digits.len().div_ceil(DIGITS))?;
    let mut words: Vec<u64> = Vec::new();
    let first = digits.len() % DIGITS;
    let chunks = std::iter::once(&digits[..first])
        .chain((first..digits.len()).step_by(DIGITS).map(|start| &digits[start..start + DIGITS]));
    for chunk in chunks.filter(|chunk| !chunk.is_empty()) {
        let step = chunk.parse().map_err(|_| Refused::NotJson("not a whole number"))?;
        multiply_add(&mut words, step);
    }
    words.push(0);
    if decimal.starts_with('-') {
        negate(&mut words);
    }
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    Ok(shortest(&bytes).to_vec())
}

/// Replaces a number by its two's complement.
fn negate(words: &mut [u64]) {
    let mut carry = true;
    for word in words {
        let (negated, overflowed) = (!*word).overflowing_add(u64::from(carry));
        (*word, carry) = (negated, overflowed);
    }
}

/// Divides a number by [`STEP`] and returns the remainder.
fn divide(words: &mut [u64]) -> u64 {
    let mut rest = 0_u64;
    for word in words.iter_mut().rev() {
        let part = (u128::from(rest) << 64) | u128::from(*word);
        *word = low(part / u128::from(STEP));
        rest = low(part % u128::from(STEP));
    }
    rest
}

/// Multiplies a number by [`STEP`] and adds `step`.
fn multiply_add(words: &mut Vec<u64>, step: u64) {
    let mut carry = step;
    for word in words.iter_mut() {
        let part = u128::from(*word) * u128::from(STEP) + u128::from(carry);
        *word = low(part);
        carry = low(part >> 64);
    }
    if carry != 0 {
        words.push(carry);
    }
}

/// Returns the low 64 bits.
fn low(part: u128) -> u64 {
    u64::try_from(part & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_both(bytes: &[u8], decimal: &str) {
        assert_eq!(to_decimal(bytes, &Work::default()).as_deref(), Ok(decimal));
        assert_eq!(from_decimal(decimal, &Work::default()).as_deref(), Ok(bytes));
    }

    #[test]
    fn whole_numbers_convert_both_ways() {
        assert_both(&[0], "0");
        assert_both(&[0xff], "-1");
        assert_both(&[0x80, 0], "128");
        assert_both(&[0x80], "-128");
        assert_both(&[0, 0, 0, 0, 0, 0, 0, 0, 0x40], "1180591620717411303424");
        assert_both(&[0, 0, 0, 0, 0, 0, 0, 0x80], "-9223372036854775808");
        assert_both(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0], "9223372036854775808");
        let nineteens = "1".repeat(19);
        let bytes = from_decimal(&nineteens, &Work::default()).unwrap();
        assert_both(&bytes, &nineteens);
    }

    #[test]
    fn random_whole_numbers_convert_both_ways() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..5_000 {
            let number = random.i128(..) >> random.u32(0..127);
            let bytes = number.to_le_bytes();
            assert_both(shortest(&bytes), &number.to_string());
            let small = small(shortest(&bytes));
            assert_eq!(small.map(i128::from), i64::try_from(number).ok().map(i128::from));
        }
    }

    #[test]
    fn whole_number_of_a_megabyte_is_refused_at_once() {
        let bytes = vec![1; 1 << 20];
        assert_eq!(to_decimal(&bytes, &Work::default()), Err(Refused::TooManyDigits));
        let decimal = "1".repeat(1 << 20);
        assert_eq!(from_decimal(&decimal, &Work::default()), Err(Refused::TooManyDigits));
    }
}
