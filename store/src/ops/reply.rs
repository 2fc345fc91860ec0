//! Reading replies of scripts and commands into typed values.

use std::collections::HashMap;

use redis::Value;

use crate::error::StoreError;

/// A number that is neither negative nor a fraction: the driver would wrap or truncate them, and
/// make a huge count of -1.
pub(crate) struct Whole(pub(crate) u64);

/// An entry of a stream: its id and its fields.
pub(crate) type StreamEntry = (String, HashMap<Vec<u8>, Vec<u8>>);

impl redis::FromRedisValue for Whole {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        match value {
            Value::Double(_) => Err("expected a count, got a fraction".into()),
            value => {
                let number: i64 = redis::from_redis_value(value)?;
                let whole =
                    u64::try_from(number).map_err(|_| "expected a count, got a negative number")?;
                Ok(Self(whole))
            }
        }
    }
}

impl Whole {
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Reads a script's reply; the error names the script.
pub(crate) fn read<T: redis::FromRedisValue>(
    script: &'static str,
    value: Value,
) -> Result<T, StoreError> {
    redis::from_redis_value(value).map_err(|_| StoreError::Unexpected(script))
}

/// Returns the reply of `TIME`, seconds and microseconds, as ms.
pub(crate) fn millis((seconds, micros): (u64, u64)) -> u64 {
    seconds.saturating_mul(1000).saturating_add(micros / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_count_is_an_error() {
        let count = |value| read::<Whole>("enqueue", value).map(|whole| whole.count());
        assert_eq!(count(Value::Int(3)).unwrap(), 3);
        assert_eq!(count(Value::BulkString(b"3".into())).unwrap(), 3);
        for wrong in [Value::Int(-1), Value::Double(-1.0), Value::BulkString(b"-1".into())] {
            assert!(matches!(count(wrong), Err(StoreError::Unexpected("enqueue"))));
        }
    }
}
