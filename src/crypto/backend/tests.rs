use super::*;
use crate::base::rng::Rng;

const AEADS: [Cipher; 4] = [Cipher::Aes128Gcm, Cipher::Aes192Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

#[test]
fn backends_agree() {
    let mut rng = Rng::from_seed([5; 32]);
    for cipher in AEADS {
        let (mut key, mut nonce) = ([0; 32], Nonce::default());
        rng.fill(&mut key);
        rng.fill(&mut nonce);
        let reference = RUST.aead(cipher).unwrap().schedule(&key);
        for len in (0..300).chain([1400, 1401, 9000]) {
            let mut plain = alloc::vec![0; len];
            rng.fill(&mut plain);
            let mut expected = plain.clone();
            let tag = reference.seal(&nonce, &mut expected).unwrap();
            for backend in all() {
                let aead = backend.aead(cipher).unwrap();
                assert_eq!(aead.cipher(), cipher);
                let (key, mut data) = (aead.schedule(&key), plain.clone());
                assert_eq!((key.seal(&nonce, &mut data), &data), (Ok(tag), &expected), "{backend:?} {cipher} {len}");
                assert_eq!((key.open(&nonce, &mut data, &tag), &data), (Ok(()), &plain), "{backend:?} {cipher} {len}");
            }
        }
    }
}

#[test]
fn packets_that_do_not_open_are_unchanged() {
    for backend in all() {
        for cipher in AEADS {
            let key = backend.aead(cipher).unwrap().schedule(&[1; 32]);
            let mut sealed = [7; 100];
            let tag = key.seal(&[2; 12], &mut sealed).unwrap();
            for wrong in 0..3 {
                let (mut nonce, mut data, mut tag) = ([2; 12], sealed, tag);
                match wrong {
                    0 => nonce[11] ^= 1,
                    1 => data[99] ^= 1,
                    _ => tag[15] ^= 1,
                }
                let before = data;
                assert_eq!(key.open(&nonce, &mut data, &tag), Err(CryptoError::Forged));
                assert_eq!(data, before, "{backend:?} {cipher}");
            }
        }
    }
}

#[test]
fn a_cipher_uses_only_its_part_of_the_key() {
    for backend in all() {
        for cipher in AEADS {
            let mut key = [1; 32];
            let seal = |key: &[u8; 32]| backend.aead(cipher).unwrap().schedule(key).seal(&[0; 12], &mut [0; 16]);
            let tag = seal(&key);
            key[cipher.key_len()..].fill(2);
            assert_eq!(seal(&key), tag);
            key[cipher.key_len() - 1] = 2;
            assert_ne!(seal(&key), tag);
        }
    }
}

#[test]
fn tables_are_consistent() {
    for backend in all() {
        for &cipher in Cipher::ALL {
            assert_eq!(backend.aead(cipher).is_ok(), cipher.is_aead(), "{backend:?} {cipher}");
            assert_eq!(backend.stream(cipher).is_ok(), !cipher.is_aead(), "{backend:?} {cipher}");
        }
        for &kex in Kex::ALL {
            assert!(backend.exchange(kex).map_or(true, |row| row.kex() == kex));
        }
    }
}
