//! `Debug` output of errors.

/// Implements `Debug` of an error by its text, behind its name: `AllocError::Down(the stack was shut down)`.
///
/// That is what a program prints whose `main` returns the error, and what `unwrap` panics with: it is read by people,
/// who should not need the documentation for it.
macro_rules! debug_by_text {
    ($Error:ident { $($Variant:ident),+ $(,)? }) => {
        impl core::fmt::Debug for $Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let variant = match self {
                    $(Self::$Variant { .. } => stringify!($Variant),)+
                };
                write!(f, "{}::{variant}({self})", stringify!($Error))
            }
        }
    };
    ($Error:ident) => {
        impl core::fmt::Debug for $Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({self})", stringify!($Error))
            }
        }
    };
}
pub(crate) use debug_by_text;
