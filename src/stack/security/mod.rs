//! Security settings from files, in the reference's layout: what [`Stack::load_security`] reads, and how it takes effect in one
//! step.

mod demand;
mod error;
mod files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(super) use demand::Demand;
use error::Problem;
pub use error::{SecurityFileError, SecurityWarning};
pub(super) use files::{Directory, Paths, Side};

use super::{BindError, Stack};
use crate::base::journal::record;
use crate::crypto::certificate::TrustStore;
use crate::irm::NameSecurity;
use crate::node::Replaced;
use crate::oap::{SecurityConfig, StaticKey};
use crate::types::name::Name;

/// Settings of a stack, and what was read from files.
#[derive(Default)]
pub(super) struct Held {
    /// The settings of names that have none of their own, as the program has made them.
    base: NameSecurity,
    /// The authorities that were read.
    store: Option<Arc<TrustStore>>,
    /// Names that have settings from the files.
    names: Vec<Name>,
    /// Keys of servers, whose memory outlives that they are read again.
    static_keys: Vec<StaticKey>,
}

impl Held {
    pub(super) fn new(base: NameSecurity) -> Self {
        Self { base, ..Self::default() }
    }

    /// The settings of names that have none of their own.
    fn default_of(&self, store: Option<&Arc<TrustStore>>) -> NameSecurity {
        let with_store = |config: &SecurityConfig| {
            let authorities = config.authorities.clone().or_else(|| store.cloned());
            config.clone().authorities(authorities)
        };
        NameSecurity { server: with_store(&self.base.server), client: with_store(&self.base.client) }
    }
}

impl Stack {
    /// Sets the protection of flows accepted under `name`, and of flows allocated to it from here. It is a property of
    /// the name, never of the call that allocates; names without one have the stack's. Of the ciphers of both ends the
    /// stronger is used, see [`SecurityConfig`].
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn set_security(&self, name: &str, server: SecurityConfig, client: SecurityConfig) -> Result<(), BindError> {
        let name = Name::new(name)?;
        Ok(self.shared.node.set_security(Some(&name), NameSecurity { server, client })?)
    }

    /// The protection of all names that have no settings of their own, for instance "every flow is encrypted". Names whose
    /// settings were [loaded](Self::load_security) keep those until they are loaded again.
    pub fn set_default_security(&self, config: SecurityConfig) {
        self.exchange_default(config);
    }

    /// Reads the security settings of names from a directory, in the layout of the reference, and has all of them take effect in
    /// one step: certificates, private keys and authorities together. If anything in it cannot be used, nothing changes. Called
    /// again, it is how files that have changed are taken over, without a restart; names that have gone from it have the stack's
    /// settings again. Flows that are there stay as they are.
    ///
    /// | file in the directory | for |
    /// |---|---|
    /// | `server/NAME/enc.conf` | flows that are accepted under NAME: [settings](SecurityConfig::from_enc_conf) |
    /// | `server/NAME/crt.pem`, `key.pem` | the certificate and private key that they are signed with |
    /// | `server/NAME/kex.key.pem`, `kex.key.raw` | the key that clients encapsulate to |
    /// | `client/NAME/enc.conf`, `crt.pem`, `key.pem` | the same for flows that are allocated to NAME |
    /// | `client/NAME/kex.srv.pub.pem`, `kex.srv.pub.raw` | the server's key to encapsulate to |
    /// | `cacert/*` | authorities, for all names: certificates in PEM |
    /// | `untrusted/*` | certificates between them and those of the peers |
    ///
    /// The files say which algorithms and keys are used; what is *demanded* is the program's: of the
    /// [stack's settings](super::Builder::security) a name keeps whether encryption is [required](SecurityConfig::required), what
    /// is asked of [certificates](SecurityConfig::certificates), and the rest that no file has a word for. Where they demand
    /// encryption, an `enc.conf` that says `none` is an error, and one that is missing means the stack's settings. What is there
    /// and cannot be read, or understood, is an error in any case.
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("o7s-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(directory.join("server/vault"))?;
    /// # std::fs::write(directory.join("server/vault/enc.conf"), "kex = X25519\n")?;
    /// let stack = o7s::Stack::new()?;
    /// let warnings = stack.load_security(&directory)?;
    /// assert!(warnings.is_empty());
    /// # std::fs::remove_dir_all(&directory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SecurityFileError`] names the file, the line if there is one, and what to do.
    pub fn load_security(&self, directory: impl AsRef<Path>) -> Result<Vec<SecurityWarning>, SecurityFileError> {
        let directory = directory.as_ref();
        let read = Directory::read(directory, self.shared.clock().unix_nanos())?;
        let mut held = self.shared.security.lock();
        let default = held.default_of(read.store.as_ref());
        let mut static_keys = Vec::new();
        let mut own = BTreeMap::new();
        for (name, sides) in &read.names {
            let mut security = default.clone();
            if let Some(side) = &sides.server {
                security.server = side.over(&security.server, &held.static_keys)?;
                static_keys.extend(security.server.static_keys.iter().cloned());
            }
            if let Some(side) = &sides.client {
                security.client = side.over(&security.client, &held.static_keys)?;
            }
            own.insert(name.clone(), Some(security));
        }
        // Those that were in the directory and are not any more.
        for name in &held.names {
            own.entry(name.clone()).or_insert(None);
        }
        let mut replaced = Replaced { default: Some(default), names: own.into_iter().collect() };
        let exchanged = self.shared.node.exchange_security(&mut replaced);
        if exchanged.is_ok() {
            held.store = read.store;
            held.names = read.names.into_keys().collect();
            held.static_keys = static_keys;
        }
        drop(held);
        self.shared.node.panics().discard(replaced);
        exchanged.map_err(|error| SecurityFileError::new(directory, Problem::Names(BindError::from(error))))?;
        for warning in &read.warnings {
            record!(self.shared.node.panics(), Stack, Warn, [], "{warning}");
        }
        Ok(read.warnings)
    }

    /// Demands something of all flows from now on.
    pub(super) fn demand(&self, demand: Demand) {
        let backend = self.shared.node.backend();
        self.exchange_base(|base| demand.over(base, backend));
    }

    /// As [`set_default_security`](Stack::set_default_security); with the authorities that were read, if it has none.
    pub(super) fn exchange_default(&self, config: SecurityConfig) {
        self.exchange_base(|_| NameSecurity { server: config.clone(), client: config });
    }

    fn exchange_base(&self, change: impl FnOnce(NameSecurity) -> NameSecurity) {
        let before = {
            let mut held = self.shared.security.lock();
            let base = change(held.base.clone());
            let before = std::mem::replace(&mut held.base, base);
            let mut replaced = Replaced { default: Some(held.default_of(held.store.as_ref())), names: Vec::new() };
            // Only settings of a single name can be too many.
            let _ = self.shared.node.exchange_security(&mut replaced);
            (before, replaced)
        };
        self.shared.node.panics().discard(before);
    }
}
