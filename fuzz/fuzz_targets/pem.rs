//! Files of certificates and keys: no panic, no more content than there are bytes, and all of a file or nothing of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::crypto::certificate::{Credentials, TrustStore};
use o7s::crypto::pem;
use o7s::crypto::sign::PrivateKey;

fuzz_target!(|input: &[u8]| {
    let read = pem::blocks(input);
    if let Ok(blocks) = &read {
        let content: usize = blocks.iter().map(|block| block.content.len()).sum();
        assert!(content <= input.len() * 3 / 4);
        assert!(blocks.is_sorted_by_key(|block| block.line));
    }
    let mut store = TrustStore::new();
    match store.add_authorities(input) {
        Ok(left_out) => {
            let n = read.map_or(1, |blocks| blocks.len());
            // An intermediate among the authorities is used, and told.
            assert!(store.authorities().len() + left_out.len() == n);
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'));
            assert!(store.authorities().is_empty() && store.intermediates().is_empty());
        }
    }
    let _ = store.add_intermediates(input);
    if let Ok(key) = PrivateKey::from_pem(input) {
        assert!(!format!("{key:?}").is_empty());
    }
    let _ = Credentials::from_pem(input, input);
});
