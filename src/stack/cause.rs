//! Opaque causes of errors, for people to read.

use std::fmt;

use crate::base::debug::debug_by_text;
use crate::ipcp::ConnectionRefused;
use crate::ipcp::connect::cep::CepError;
use crate::ipcp::connect::enroll::EnrollError;
use crate::wire::WireError;

/// The cause of an error, for people to read: its text is part of that of the error that carries it. What a program decides
/// by are the variants of that error.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause(Kind);

debug_by_text!(Cause);

macro_rules! causes {
    ($($Kind:ident($Error:ty),)*) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        enum Kind {
            $($Kind($Error),)*
        }

        impl fmt::Display for Cause {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    $(Kind::$Kind(error) => error.fmt(f),)*
                }
            }
        }

        $(
            #[doc(hidden)]
            impl From<$Error> for Cause {
                fn from(error: $Error) -> Self {
                    Self(Kind::$Kind(error))
                }
            }
        )*
    };
}

causes! {
    Component(CepError),
    Enrollment(EnrollError),
    Connection(ConnectionRefused),
    Wire(WireError),
}

impl std::error::Error for Cause {}
