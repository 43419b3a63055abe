//! Datagrams of the UDP shim: no input panics, and what decodes encodes to the same bytes unless it was reported as
//! not canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::wire::udp::{Datagram, Raw};

fuzz_target!(|bytes: &[u8]| {
    let raw = Raw::parse(bytes);
    if let Ok(raw) = &raw {
        let mut again = Vec::new();
        raw.emit(&mut again);
        assert_eq!(again, bytes);
    }
    let Ok(datagram) = Datagram::parse(bytes) else {
        return;
    };
    assert!(!datagram.to_string().is_empty());
    let mut again = Vec::new();
    datagram.emit(&mut again);
    assert_eq!(again == bytes, raw.is_ok_and(|raw| raw.is_canonical()) || matches!(datagram, Datagram::Data { .. }));
    // Once encoded it is canonical, and says the same.
    assert_eq!(Datagram::parse(&again), Ok(datagram));
});
