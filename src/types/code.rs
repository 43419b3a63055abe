//! Numeric codes: why an operation failed, in the C reference's numbers.
//!
//! The numbers are those of the reference's `ouroboros/errno.h` (1000 to 1009) and, below, of Linux. Flow replies
//! carry them over the wire, negated, and nothing translates between operating systems.
//!
//! ```
//! use o7s::Code;
//!
//! assert_eq!(Code::NAME.to_response(), -1007);
//! let code = Code::from_response(-1009);
//! assert_eq!(code, Code::AUTH);
//! assert_eq!(code.to_string(), "authentication failed (EAUTH, 1009)");
//! assert_eq!(Code::from_response(-4711).to_string(), "error 4711");
//! ```

use core::fmt;

/// A code, as the positive number. Unknown ones are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u32);

macro_rules! codes {
    ($($(#[$hidden:meta])? $number:literal $constant:ident $symbol:literal $text:literal $(, $more:literal)?;)*) => {
        impl Code {
            $(
                $(#[$hidden])?
                #[doc = concat!("`", $symbol, "` (", $number, "): ", $text, ".", $(" ", $more)?)]
                pub const $constant: Self = Self($number);
            )*

            /// All codes that have a name, by number.
            #[cfg_attr(not(feature = "internals"), doc(hidden))]
            pub const NAMED: &[Self] = &[$(Self::$constant),*];

            /// The name in C and what it means, if the code has a name.
            const fn named(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($number => Some(($symbol, $text)),)*
                    _ => None,
                }
            }
        }
    };
}

// Hidden are those that no error of this library has and no flow is refused with.
codes! {
    1 PERM "EPERM" "operation not permitted";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    2 NOENT "ENOENT" "no such entry";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    9 BADF "EBADF" "no such flow";
    11 AGAIN "EAGAIN" "try again later";
    12 NOMEM "ENOMEM" "out of memory or of table entries";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    17 EXIST "EEXIST" "it exists already";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    22 INVAL "EINVAL" "invalid argument";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    32 PIPE "EPIPE" "broken pipe";
    62 TIME "ETIME" "the request is too old or from the future: check the clocks", "Only peers of this library are told.";
    90 MSGSIZE "EMSGSIZE" "the message is too long";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    95 NOTSUP "ENOTSUP" "operation not supported";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    104 CONNRESET "ECONNRESET" "connection reset";
    110 TIMEDOUT "ETIMEDOUT" "timed out";
    1000 NOTALLOC "ENOTALLOC" "the flow is not allocated";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    1001 IPCPTYPE "EIPCPTYPE" "unknown IPCP type";
    #[cfg_attr(not(feature = "internals"), doc(hidden))]
    1002 IRMD "EIRMD" "no answer from the IRM";
    1003 IPCP "EIPCP" "the IPCP is missing or failed";
    1004 IPCPSTATE "EIPCPSTATE" "the IPCP is in the wrong state";
    1005 FLOWDOWN "EFLOWDOWN" "the flow is down";
    1006 FLOWPEER "EFLOWPEER" "the peer of the flow timed out";
    1007 NAME "ENAME" "the name is unknown";
    1008 CRYPT "ECRYPT" "encryption or key exchange failed";
    1009 AUTH "EAUTH" "authentication failed", "Peers on BSD and macOS say 80, their own `EAUTH`, instead.";
}

impl Code {
    /// The code with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number, positive.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The name in C, such as `ENAME`.
    pub const fn symbol(self) -> Option<&'static str> {
        match self.named() {
            Some((symbol, _)) => Some(symbol),
            None => None,
        }
    }

    /// The code in the `response` of a flow reply. 0 is an acceptance and no code; of any other number the sign is
    /// dropped, because whatever it is, it is a refusal.
    pub const fn from_response(response: i32) -> Self {
        Self(response.unsigned_abs())
    }

    /// Returns the `response` of a flow reply: the negated number.
    pub const fn to_response(self) -> i32 {
        0i32.wrapping_sub_unsigned(self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named() {
            Some((symbol, text)) => write!(f, "{text} ({symbol}, {})", self.0),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbol() {
            Some(symbol) => f.write_str(symbol),
            None => write!(f, "Code({})", self.0),
        }
    }
}

impl core::error::Error for Code {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn named_codes_are_sorted_and_survive_the_wire() {
        assert!(Code::NAMED.is_sorted_by(|a, b| a < b));
        for &code in Code::NAMED {
            assert!(code.to_response() < 0);
            assert_eq!(Code::from_response(code.to_response()), code);
            assert!(code.symbol().is_some_and(|s| s.starts_with('E')));
        }
        let own: Vec<u32> = Code::NAMED.iter().map(|c| c.number()).filter(|n| *n >= 1000).collect();
        assert_eq!(own, (1000..=1009).collect::<Vec<_>>());
    }

    /// As in `errno.h` of Linux and of the reference.
    #[test]
    fn numbers_and_symbols_are_those_of_the_reference() {
        let known = [
            (Code::PERM, 1, "EPERM"),
            (Code::NOENT, 2, "ENOENT"),
            (Code::BADF, 9, "EBADF"),
            (Code::AGAIN, 11, "EAGAIN"),
            (Code::NOMEM, 12, "ENOMEM"),
            (Code::EXIST, 17, "EEXIST"),
            (Code::INVAL, 22, "EINVAL"),
            (Code::PIPE, 32, "EPIPE"),
            (Code::TIME, 62, "ETIME"),
            (Code::MSGSIZE, 90, "EMSGSIZE"),
            (Code::NOTSUP, 95, "ENOTSUP"),
            (Code::CONNRESET, 104, "ECONNRESET"),
            (Code::TIMEDOUT, 110, "ETIMEDOUT"),
            (Code::NOTALLOC, 1000, "ENOTALLOC"),
            (Code::IPCPTYPE, 1001, "EIPCPTYPE"),
            (Code::IRMD, 1002, "EIRMD"),
            (Code::IPCP, 1003, "EIPCP"),
            (Code::IPCPSTATE, 1004, "EIPCPSTATE"),
            (Code::FLOWDOWN, 1005, "EFLOWDOWN"),
            (Code::FLOWPEER, 1006, "EFLOWPEER"),
            (Code::NAME, 1007, "ENAME"),
            (Code::CRYPT, 1008, "ECRYPT"),
            (Code::AUTH, 1009, "EAUTH"),
        ];
        assert_eq!(Code::NAMED, known.map(|(code, ..)| code));
        for (code, number, symbol) in known {
            assert_eq!((code.number(), code.symbol()), (number, Some(symbol)));
            assert_eq!(Code::new(number), code);
            assert_eq!(format!("{code:?}"), symbol);
            assert!(code.to_string().ends_with(&format!("({symbol}, {number})")), "{code}");
        }
        assert_eq!((Code::new(4711).number(), Code::new(4711).symbol()), (4711, None));
        assert_eq!(
            (format!("{:?}", Code::new(4711)), Code::new(4711).to_string().as_str()),
            ("Code(4711)".into(), "error 4711")
        );
    }

    #[test]
    fn a_positive_refusal_is_a_refusal() {
        assert_eq!(Code::from_response(1007), Code::NAME);
    }

    proptest! {
        #[test]
        fn any_refusal_survives(response in i32::MIN..0) {
            prop_assert_eq!(Code::from_response(response).to_response(), response);
        }
    }
}
