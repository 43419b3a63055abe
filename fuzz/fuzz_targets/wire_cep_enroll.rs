//! CEP and enrollment: no input panics; what decodes encodes to a message that says the same and is not longer than
//! allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::wire::{cep, enroll};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = cep::Message::decode(bytes) {
        assert!(!message.to_string().is_empty());
        if let Ok(again) = message.encode() {
            assert!(again.len() <= cep::MAX_LEN);
            assert_eq!(cep::Message::decode(&again), Ok(message));
        }
    }
    if let Ok(message) = enroll::Request::decode(bytes) {
        assert!(!message.to_string().is_empty());
        assert_eq!(enroll::Request::decode(&message.encode().expect("it is short")), Ok(message));
    }
    if let Ok(message) = enroll::Response::decode(bytes) {
        assert!(!message.to_string().is_empty());
        assert_eq!(enroll::Response::decode(&message.encode().expect("it is short")), Ok(message));
    }
    if let Ok(message) = enroll::Ack::decode(bytes) {
        assert!(!message.to_string().is_empty());
        assert_eq!(enroll::Ack::decode(&message.encode().expect("it is short")), Ok(message));
    }
});
