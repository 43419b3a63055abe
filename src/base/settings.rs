//! The one form that settings have: private fields, a default, and a setter for each.
//!
//! [`settings!`](crate::base::settings::settings) makes such a type, with everything about a setting in one place. Its
//! fields can be read and set all over the crate; users have the setters, which take the settings by value and give them
//! back:
//!
//! ```
//! use o7s::settings::Limits;
//!
//! let limits = Limits::default().flows(1000).handlers(64);
//! ```

/// Makes a type of settings: for each the documentation of its setter, its type, and its default. Those in `inside` have no
/// such setter: they are decided by the crate, or set in another way.
///
/// The fields are public with the feature `internals`, so that tests see what was set.
macro_rules! settings {
    (
        $(#[$about:meta])*
        $vis:vis struct $Name:ident {
            $($(#[$doc:meta])+ $field:ident: $Type:ty = $default:expr,)*
        }
        $(inside {
            $($(#[$inside_doc:meta])+ $inside:ident: $InsideType:ty = $inside_default:expr,)*
        })?
    ) => {
        #[cfg(not(feature = "internals"))]
        $(#[$about])*
        $vis struct $Name {
            $(pub(crate) $field: $Type,)*
            $($($(#[$inside_doc])+ pub(crate) $inside: $InsideType,)*)?
        }

        #[cfg(feature = "internals")]
        $(#[$about])*
        $vis struct $Name {
            $($(#[$doc])+ $vis $field: $Type,)*
            $($($(#[$inside_doc])+ $vis $inside: $InsideType,)*)?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* $($($inside: $inside_default,)*)? }
            }
        }

        impl $Name {
            $(
                $(#[$doc])+
                #[must_use]
                $vis fn $field(mut self, $field: $Type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

pub(crate) use settings;

#[cfg(test)]
mod tests {
    use alloc::string::String;

    settings! {
        /// Settings of a post office.
        #[derive(Debug, PartialEq)]
        struct Office {
            /// Sets the number of counters. Default: 2.
            counters: usize = 2,
            /// Sets what the sign says. Default: nothing.
            sign: String = String::new(),
        }
        inside {
            /// Number of sorters of letters.
            sorters: usize = 1,
        }
    }

    #[test]
    fn setters_change_one_setting_each() {
        let default = Office { counters: 2, sign: String::new(), sorters: 1 };
        assert_eq!(Office::default(), default);
        assert_eq!(Office::default().counters(3), Office { counters: 3, ..Office::default() });
        let both = Office::default().sign("open".into()).counters(0);
        assert_eq!(both, Office { counters: 0, sign: "open".into(), sorters: 1 });
    }
}
