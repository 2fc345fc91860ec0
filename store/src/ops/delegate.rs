//! Implements operations of the seam for [`crate::Connection`].

/// Implements each method by the method of the same name of the connection itself, which is in the
/// file of its script. Returns that method's future: no instruction comes on top.
macro_rules! delegate {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)* $(,)?) -> $out:ty;)+) => {
        $(
            #[inline]
            fn $name(&self $(, $arg: $type)*) -> impl Future<Output = $out> + Send {
                Connection::$name(self $(, $arg)*)
            }
        )+
    };
}
pub(crate) use delegate;
