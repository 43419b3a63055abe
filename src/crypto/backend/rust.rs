//! The ciphers of RustCrypto.

use alloc::boxed::Box;

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::aead::{AeadInOut, Key, KeyInit};
use aes_gcm::aes::{Aes128Enc, Aes192Enc, Aes256Enc};
#[cfg(feature = "chacha")]
use chacha20poly1305::ChaCha20Poly1305;
#[cfg(feature = "aes-ctr")]
use ctr::cipher::{BlockCipherEncrypt, BlockSizeUser, InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
#[cfg(feature = "aes-ctr")]
use ctr::{CtrCore, flavors};
use zeroize::Zeroize;

use super::{Aead, AeadKey, Nonce, Stream, Tag};
#[cfg(feature = "aes-ctr")]
use super::{Iv, StreamKey};
use crate::crypto::CryptoError;
use crate::crypto::suite::Cipher;

/// GCM only ever encrypts blocks, so that half of an AES key schedule is enough.
type Gcm<Aes> = AesGcm<Aes, U12>;

pub(super) static AEADS: &[Aead] = &[
    Aead { cipher: Cipher::Aes128Gcm, schedule: schedule::<Gcm<Aes128Enc>> },
    Aead { cipher: Cipher::Aes192Gcm, schedule: schedule::<Gcm<Aes192Enc>> },
    Aead { cipher: Cipher::Aes256Gcm, schedule: schedule::<Gcm<Aes256Enc>> },
    #[cfg(feature = "chacha")]
    Aead { cipher: Cipher::ChaCha20Poly1305, schedule: schedule::<ChaCha20Poly1305> },
];

pub(super) static STREAMS: &[Stream] = &[
    #[cfg(feature = "aes-ctr")]
    Stream { cipher: Cipher::Aes128Ctr, schedule: counter::<Aes128Enc> },
    #[cfg(feature = "aes-ctr")]
    Stream { cipher: Cipher::Aes192Ctr, schedule: counter::<Aes192Enc> },
    #[cfg(feature = "aes-ctr")]
    Stream { cipher: Cipher::Aes256Ctr, schedule: counter::<Aes256Enc> },
];

struct RustKey<A>(A);

impl<A> AeadKey for RustKey<A>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync,
{
    fn seal(&self, nonce: &Nonce, data: &mut [u8]) -> Result<Tag, CryptoError> {
        let tag = self.0.encrypt_inout_detached(nonce.into(), &[], data.into());
        tag.map(Into::into).map_err(|_| CryptoError::PacketTooLong)
    }

    /// Checks the tag before it decrypts anything.
    fn open(&self, nonce: &Nonce, data: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        let opened = self.0.decrypt_inout_detached(nonce.into(), &[], data.into(), tag.into());
        opened.map_err(|_| CryptoError::Forged)
    }
}

fn schedule<A>(bytes: &[u8; 32]) -> Box<dyn AeadKey>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit + Send + Sync + 'static,
{
    Box::new(RustKey(keyed::<A>(bytes)))
}

/// The cipher with as many of the bytes as its key has.
fn keyed<A: KeyInit>(bytes: &[u8; 32]) -> A {
    let mut key = Key::<A>::default();
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let cipher = A::new(&key);
    key.as_mut_slice().zeroize();
    cipher
}

#[cfg(feature = "aes-ctr")]
struct CounterKey<Aes>(Aes);

#[cfg(feature = "aes-ctr")]
impl<Aes> StreamKey for CounterKey<Aes>
where
    Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Clone + Send + Sync,
{
    fn apply(&self, iv: &Iv, data: &mut [u8]) {
        let core = CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(self.0.clone(), iv.into());
        // The whole block is the counter: no packet is long enough to use it up.
        StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
    }
}

#[cfg(feature = "aes-ctr")]
fn counter<Aes>(bytes: &[u8; 32]) -> Box<dyn StreamKey>
where
    Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Clone + Send + Sync + 'static,
{
    Box::new(CounterKey(keyed::<Aes>(bytes)))
}
