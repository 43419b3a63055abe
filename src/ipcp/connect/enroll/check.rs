//! Validation and correction of a received configuration.
//!
//! Members need not agree on the numbers to the last digit: each uses those that concern its own doing. What the
//! C reference's configuration file would not take, but its command line lets through, is therefore put right instead
//! of refused.

use alloc::vec::Vec;

use super::Kind;
use crate::ipcp::connect::address::MAX_ADDRESS;
use crate::types::id::Address;
use crate::types::layer::{Dht, LayerConfig, LayerKind, LinkState, Unicast};

/// Reason for a joiner not to use a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(unnameable_types, reason = "users see it in hidden conversions only")]
pub enum ConfigError {
    /// The layer is of the other kind.
    #[error("the layer is of another kind: this ipcp is {own:?}, the layer {theirs:?}")]
    Kind {
        /// Kind that this joiner can be a member of.
        own: Kind,
        /// Kind of the layer.
        theirs: Kind,
    },
    /// Addresses are not of four bytes.
    #[error("addresses of {0} bytes are not supported, only of 4")]
    AddressSize(u8),
    /// The first contact of the directory has an impossible address.
    #[error("the directory's first contact has an address of more than 32 bits")]
    Peer(Address),
}

/// A number in a configuration that was changed before use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Name in the reference's configuration.
    pub field: &'static str,
    /// Value that the member gave.
    pub given: u32,
    /// Value in use.
    pub used: u32,
}

/// Checks all of a received configuration, and corrects what would do harm.
///
/// | field | range |
/// |---|---|
/// | ls_t_recalc, ls_t_update | 1 s and more |
/// | ls_t_timeo | twice ls_t_update and more: one announcement may be lost |
/// | dht_alpha, dht_k | 1 to 10, 1 to 20 |
/// | dht_t_expire | 10 to 86400 s |
/// | dht_t_refresh, dht_t_replicate | 3 to 3600 s |
///
/// # Errors
/// [`ConfigError`]: the layer is not for this joiner.
pub fn check(mut config: LayerConfig, own: Kind) -> Result<(LayerConfig, Vec<Adjustment>), ConfigError> {
    let theirs = Kind::of(&config);
    if theirs != own {
        return Err(ConfigError::Kind { own, theirs });
    }
    let mut adjusted = Vec::new();
    if let LayerKind::Unicast(unicast) = &mut config.kind {
        check_unicast(unicast, &mut adjusted)?;
    }
    Ok((config, adjusted))
}

fn check_unicast(unicast: &mut Unicast, adjusted: &mut Vec<Adjustment>) -> Result<(), ConfigError> {
    let Unicast { addr_size, routing, directory, .. } = unicast;
    if *addr_size != 4 {
        return Err(ConfigError::AddressSize(*addr_size));
    }
    if directory.peer > MAX_ADDRESS {
        return Err(ConfigError::Peer(directory.peer));
    }
    let mut clamp = |field, value: &mut u32, least: u32, most: u32| {
        let given = *value;
        *value = given.clamp(least, most);
        if *value != given {
            adjusted.push(Adjustment { field, given, used: *value });
        }
    };
    let LinkState { t_recalc, t_update, t_timeo, .. } = routing;
    clamp("ls_t_recalc", t_recalc, 1, u32::MAX);
    clamp("ls_t_update", t_update, 1, u32::MAX);
    clamp("ls_t_timeo", t_timeo, t_update.saturating_mul(2), u32::MAX);
    let Dht { alpha, k, t_expire, t_refresh, t_replicate, .. } = directory;
    clamp("dht_alpha", alpha, 1, 10);
    clamp("dht_k", k, 1, 20);
    clamp("dht_t_expire", t_expire, 10, 86_400);
    clamp("dht_t_refresh", t_refresh, 3, 3_600);
    clamp("dht_t_replicate", t_replicate, 3, 3_600);
    Ok(())
}
