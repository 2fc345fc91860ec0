//! The reasons for which a pickle is refused.

/// A pickle, or a value for one, that is not accepted. The messages are for a log: they hold no
/// data of the pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The bytes end within an instruction, or before the last one.
    #[error("the pickle is cut off")]
    CutOff,
    /// The bytes do not begin with a supported protocol.
    #[error("the pickle is not of protocol 2 to 5")]
    Protocol,
    /// An instruction that plain data do not need.
    #[error("instruction {0:#04x} is not allowed in plain data")]
    Instruction(u8),
    /// Instructions that do not fit together.
    #[error("the instructions of the pickle do not fit together: {0}")]
    Malformed(&'static str),
    /// A class, or a use of one, that the protocol does not have.
    #[error("the pickle holds an object that is not allowed: {0}")]
    Object(&'static str),
    /// A value that JSON does not have.
    #[error("JSON does not have this value: {0}")]
    NotJson(&'static str),
    /// A shape that the protocol does not have.
    #[error("unexpected value: {0}")]
    Shape(&'static str),
    /// The pickle, or its JSON, exceeds the bound on bytes.
    #[error("larger than {0} bytes")]
    TooLarge(usize),
    /// The JSON exceeds the bound on nesting, as that of an object that holds itself.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// The whole numbers together take too long to convert.
    #[error("whole numbers too large")]
    TooManyDigits,
    /// The compressed bytes are damaged or cut off.
    #[error("not a complete zlib stream")]
    Compressed,
}
