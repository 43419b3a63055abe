//! Messages of the flow allocator: no input panics, and what decodes encodes to the same bytes unless it was reported
//! as not canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::types::name::HashAlg;
use o7s::wire::fa::{Message, Raw};

fuzz_target!(|input: &[u8]| {
    let [alg, bytes @ ..] = input else { return };
    let Some(alg) = HashAlg::from_number(*alg) else { return };
    let Ok(raw) = Raw::parse(bytes) else {
        return assert!(Message::parse(alg, bytes).is_err());
    };
    let mut again = Vec::new();
    raw.emit(&mut again);
    assert_eq!(again, bytes);
    let Ok(message) = Message::parse(alg, bytes) else {
        return assert!(!raw.is_canonical(alg));
    };
    assert!(!message.to_string().is_empty());
    let again = message.to_vec();
    assert_eq!(again == bytes, raw.is_canonical(alg));
    // Once encoded it is canonical, and says the same.
    assert_eq!(Message::parse(alg, &again), Ok(message));
});
