//! Messages of the directory: no input panics; what decodes encodes to a message that says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::types::name::HashAlg;
use o7s::wire::dht::Message;

fuzz_target!(|bytes: &[u8]| {
    for alg in HashAlg::ALL {
        let Ok(message) = Message::decode(alg, bytes) else { continue };
        assert!(!message.to_string().is_empty());
        // A message may be at its limit with numbers in a shorter form than they are encoded.
        if let Ok(again) = message.encode() {
            assert_eq!(Message::decode(alg, &again), Ok(message));
        }
    }
});
