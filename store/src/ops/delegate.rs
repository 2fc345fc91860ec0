//! Implements operations of the seam for [`crate::Connection`] and
//! [`Inspector`](crate::inspect::Inspector).

/// Implements each method by the method of the same name of the type itself, which is in the file
/// of its script. Returns that method's future: no instruction comes on top. The type is
/// `Connection`, unless another one stands in front of the methods.
macro_rules! delegate {
    ($(fn $name:ident $args:tt -> $out:ty;)+) => {
        delegate! { Connection: $(fn $name $args -> $out;)+ }
    };
    ($owner:ident: $(fn $name:ident(&self $(, $arg:ident: $type:ty)* $(,)?) -> $out:ty;)+) => {
        $(
            #[inline]
            fn $name(&self $(, $arg: $type)*) -> impl Future<Output = $out> + Send {
                $owner::$name(self $(, $arg)*)
            }
        )+
    };
}
pub(crate) use delegate;
