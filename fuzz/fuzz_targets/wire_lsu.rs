//! Link-state updates: 24 bytes are one and encode to the same bytes, anything else is none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::wire::link_state::Lsu;

fuzz_target!(|bytes: &[u8]| {
    let parsed = Lsu::parse(bytes);
    assert_eq!(parsed.is_ok(), bytes.len() == Lsu::LEN);
    if let Ok(lsu) = parsed {
        assert_eq!(lsu.to_bytes(), bytes);
        assert!(!lsu.to_string().is_empty());
    }
});
