//! ML-KEM, FIPS 203.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

#[allow(deprecated, reason = "OpenSSL writes expanded keys, and those of the hybrids have no other form")]
use ml_kem::ExpandedKeyEncoding;
use ml_kem::array::Array;
use ml_kem::array::typenum::Unsigned;
use ml_kem::kem::Decapsulator;
use ml_kem::{Decapsulate, Encapsulate, Kem, KeyExport, KeyInit, MlKem512, MlKem768, MlKem1024, TryKeyInit};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::backend::{KeyExchange, PrivateKey};
use crate::crypto::kex::Encoding;
use crate::crypto::suite::Kex;
use crate::crypto::{CryptoError, SharedSecret};

/// Bytes of the seed of a key.
const SEED: usize = 64;

/// A row for one of the three parameter sets.
pub(in crate::crypto::backend) struct MlKem<K> {
    kex: Kex,
    encoding: &'static Encoding,
    parameters: PhantomData<K>,
}

pub(in crate::crypto::backend) static ML_KEM_512: MlKem<MlKem512> = MlKem::new(Kex::MlKem512, Encoding::ML_KEM_512);
pub(in crate::crypto::backend) static ML_KEM_768: MlKem<MlKem768> = MlKem::new(Kex::MlKem768, Encoding::ML_KEM_768);
pub(in crate::crypto::backend) static ML_KEM_1024: MlKem<MlKem1024> = MlKem::new(Kex::MlKem1024, Encoding::ML_KEM_1024);

impl<K> MlKem<K> {
    const fn new(kex: Kex, encoding: &'static Encoding) -> Self {
        Self { kex, encoding, parameters: PhantomData }
    }
}

/// A private key, and the public key as it is transmitted.
struct Decapsulation<D> {
    secret: D,
    public: Vec<u8>,
}

/// A private key in its expanded form, and the public key as it is transmitted.
#[cfg(all(feature = "aws-lc-rs", any(feature = "kex-x25519", feature = "kex-x448")))]
pub(in crate::crypto::backend) struct Expanded {
    pub(in crate::crypto::backend) private: Zeroizing<Vec<u8>>,
    pub(in crate::crypto::backend) public: Vec<u8>,
}

#[allow(deprecated, reason = "see above")]
impl<K> MlKem<K>
where
    K: Kem,
    K::DecapsulationKey: Decapsulate + KeyInit + ExpandedKeyEncoding,
{
    /// The key with these private bytes, whichever of the three forms they are in.
    fn read(&self, private: &[u8]) -> Result<Decapsulation<K::DecapsulationKey>, CryptoError> {
        let seed_of = |bytes| K::DecapsulationKey::new_from_slice(bytes).map_err(|_| CryptoError::InvalidPrivateKey);
        let expanded_len = <K::DecapsulationKey as ExpandedKeyEncoding>::EncodedSize::USIZE;
        let (seed, expanded) = match private.len() {
            SEED => (Some(private), None),
            len if len == expanded_len => (None, Some(private)),
            len if len == SEED + expanded_len => {
                let (seed, expanded) = private.split_at_checked(SEED).ok_or(CryptoError::InvalidPrivateKey)?;
                (Some(seed), Some(expanded))
            }
            _ => return Err(CryptoError::InvalidPrivateKey),
        };
        let secret = match (seed, expanded) {
            (Some(seed), None) => seed_of(seed)?,
            (Some(seed), Some(expanded)) => {
                let key = seed_of(seed)?;
                let mut own = key.to_expanded_bytes();
                let is_same = bool::from(own.as_slice().ct_eq(expanded));
                own.as_mut_slice().zeroize();
                if is_same { key } else { return Err(CryptoError::InvalidPrivateKey) }
            }
            (None, expanded) => {
                let mut bytes =
                    Array::try_from(expanded.unwrap_or_default()).map_err(|_| CryptoError::InvalidPrivateKey)?;
                // Checks the hash of the public key, and that this has no coefficient out of range.
                let key = K::DecapsulationKey::from_expanded_bytes(&bytes);
                bytes.as_mut_slice().zeroize();
                key.map_err(|_| CryptoError::InvalidPrivateKey)?
            }
        };
        let public =
            self.encoding.wrap(&secret.encapsulation_key().to_bytes()).ok_or(CryptoError::InvalidPrivateKey)?;
        Ok(Decapsulation { secret, public })
    }

    /// The expanded form of these private bytes, for another implementation.
    #[cfg(all(feature = "aws-lc-rs", any(feature = "kex-x25519", feature = "kex-x448")))]
    pub(in crate::crypto::backend) fn expanded(&self, private: &[u8]) -> Result<Expanded, CryptoError> {
        let Decapsulation { secret, public } = self.read(private)?;
        let mut bytes = secret.to_expanded_bytes();
        let private = Zeroizing::new(bytes.as_slice().to_vec());
        bytes.as_mut_slice().zeroize();
        Ok(Expanded { private, public })
    }
}

#[allow(deprecated, reason = "see above")]
impl<K> KeyExchange for MlKem<K>
where
    K: Kem,
    K::DecapsulationKey: Decapsulate + KeyInit + ExpandedKeyEncoding + Send + Sync + 'static,
{
    fn kex(&self) -> Kex {
        self.kex
    }

    fn generate(&self, rng: &mut dyn CryptoRng) -> Result<Box<dyn PrivateKey>, CryptoError> {
        let mut seed = Zeroizing::new([0; SEED]);
        rng.fill_bytes(seed.as_mut());
        self.import(seed.as_ref())
    }

    fn import(&self, private: &[u8]) -> Result<Box<dyn PrivateKey>, CryptoError> {
        Ok(Box::new(self.read(private)?))
    }

    fn respond(&self, peer: &[u8], rng: &mut dyn CryptoRng) -> Result<(Vec<u8>, SharedSecret), CryptoError> {
        let key = K::EncapsulationKey::new_from_slice(self.encoding.unwrap(peer)?);
        // Of another length, or with a coefficient that is not reduced.
        let key = key.map_err(|_| CryptoError::InvalidPublicKey)?;
        let (ciphertext, mut shared) = key.encapsulate_with_rng(rng);
        let secret = SharedSecret::copy_of(&shared);
        shared.as_mut_slice().zeroize();
        Ok((ciphertext.to_vec(), secret))
    }
}

impl<D> PrivateKey for Decapsulation<D>
where
    D: Decapsulate + Send + Sync,
{
    fn public(&self) -> &[u8] {
        &self.public
    }

    /// A ciphertext that was not made for this key leads to a secret that nobody has.
    fn agree(&self, peer: &[u8]) -> Result<SharedSecret, CryptoError> {
        let mut shared = self.secret.decapsulate_slice(peer).map_err(|_| CryptoError::InvalidCiphertext)?;
        let secret = SharedSecret::copy_of(&shared);
        shared.as_mut_slice().zeroize();
        Ok(secret)
    }
}
