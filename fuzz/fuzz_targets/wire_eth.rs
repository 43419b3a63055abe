//! Ethernet frames and the management messages in them: no input panics, what decodes encodes to the same bytes, but
//! for padding and messages that were reported as not canonical.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::types::name::HashAlg;
use o7s::wire::eth::{Frame, Mgmt, Raw};

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::parse(bytes) else { return };
    assert!(!frame.to_string().is_empty());
    assert_eq!(frame.to_vec().expect("what was read fits"), bytes[..frame.encoded_len()]);

    let format = frame.port.format();
    let Ok(raw) = Raw::parse(format, frame.payload) else { return };
    let mut again = Vec::new();
    raw.emit(&mut again);
    assert_eq!(again, frame.payload);
    for alg in HashAlg::ALL {
        let Ok(message) = raw.message(alg) else {
            assert!(!raw.is_canonical(alg));
            continue;
        };
        assert!(!message.to_string().is_empty());
        let again = message.to_vec(format).expect("what was read fits");
        assert_eq!(again == frame.payload, raw.is_canonical(alg));
        assert_eq!(Mgmt::parse(format, alg, &again), Ok(message));
    }
});
