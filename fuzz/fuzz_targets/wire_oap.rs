//! OAP messages, read as a request and as the response to a request with any digest: no input panics, and what decodes
//! encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::wire::oap::Message;

fuzz_target!(|input: (u16, &[u8])| {
    let (request_digest, bytes) = input;
    // Digests are few among the numbers; let the low bits choose one as well.
    let digests = [0, 672, 673, 674, 1056, 1057, 1097, 1098, 1099, request_digest];
    let digest = digests[usize::from(request_digest) % digests.len()];
    for message in [Message::parse_request(bytes), Message::parse_response(bytes, digest)].into_iter().flatten() {
        assert!(!message.to_string().is_empty());
        assert_eq!(message.encoded_len(), bytes.len());
        assert_eq!(message.to_vec().expect("what decodes encodes"), bytes);
    }
});
