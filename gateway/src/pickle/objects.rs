//! The two classes whose objects a protocol may have in its pickles. Nothing of theirs is run.

/// The names of a message class and of the enumeration of its types.
///
/// With them the reader accepts references to any class or function, as inert names; objects of
/// `object`, made without arguments and with a dict as their only state; and members of `member`.
#[derive(Debug, Clone, Copy)]
pub struct Classes {
    /// Module and name of the class.
    pub object: (&'static str, &'static str),
    /// Module and name of the enumeration.
    pub member: (&'static str, &'static str),
    /// The highest value of the enumeration, which begins at 0.
    pub highest: u8,
}
