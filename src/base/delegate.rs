//! Passing calls on: what a type around another one does not do itself.

/// Makes methods that call the method of the same name of another value, which is given as an expression of `self`.
macro_rules! delegate {
    ($this:ident => $to:expr; $(fn $name:ident($($arg:ident: $Type:ty),*) $(-> $Output:ty)?;)+) => {
        $(fn $name(&$this, $($arg: $Type),*) $(-> $Output)? {
            $to.$name($($arg),*)
        })+
    };
}

pub(crate) use delegate;
