//! A cipher backend: what encrypts the packets of a stack.

use std::sync::atomic::{AtomicU64, Ordering};

use o7s::Cipher;
use o7s::cipher::{self, Aead, AeadKey, Backend, CryptoError, Nonce, Tag};
use o7s::{QosSpec, SecurityConfig, Stack, Udp4};

use super::{BOUND, echo, round_trips};

static SEALED: AtomicU64 = AtomicU64::new(0);
static OPENED: AtomicU64 = AtomicU64::new(0);

/// A backend that counts what another one does.
static COUNTING: Backend = Backend::new("counting", &[Aead::new(Cipher::Aes256Gcm, schedule)]);

fn schedule(key: &[u8; 32]) -> Box<dyn AeadKey> {
    Box::new(Counting(cipher::RUST.aead(Cipher::Aes256Gcm).unwrap().schedule(key)))
}

struct Counting(Box<dyn AeadKey>);

impl AeadKey for Counting {
    fn seal(&self, nonce: &Nonce, data: &mut [u8]) -> Result<Tag, CryptoError> {
        SEALED.fetch_add(1, Ordering::Relaxed);
        self.0.seal(nonce, data)
    }

    fn open(&self, nonce: &Nonce, data: &mut [u8], tag: &Tag) -> Result<(), CryptoError> {
        OPENED.fetch_add(1, Ordering::Relaxed);
        self.0.open(nonce, data, tag)
    }
}

#[test]
fn each_stack_encrypts_with_the_backend_that_it_was_built_with() {
    let security: SecurityConfig = "X25519,aes-256-gcm".parse().unwrap();
    let server = Stack::builder().security(security.clone()).build().unwrap();
    let net = server.udp4(Udp4::bind("127.0.0.1:0").system_resolver(false)).unwrap();
    net.register("echo").unwrap();
    server.bind_handler("echo", echo).unwrap();
    let at = net.local_addr().unwrap().to_string();
    // By each backend of this build, by that which the library would take, and by ours, of which only the last counts.
    let chosen = cipher::all().iter().map(|backend| Some(*backend)).chain([None, Some(&COUNTING)]);
    for chosen in chosen {
        let builder = Stack::builder().security(security.clone());
        let client = chosen.map_or(builder.clone(), |backend| builder.crypto(backend)).build().unwrap();
        assert_eq!(client.crypto().name(), chosen.unwrap_or(Backend::preferred()).name());
        client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).system_resolver(false)).unwrap();
        for qos in [QosSpec::RAW, QosSpec::DATA] {
            let flow = client.flow("echo").qos(qos).timeout(BOUND).alloc().unwrap();
            assert!(flow.is_encrypted());
            round_trips(&flow, 50);
        }
        let counted = [&SEALED, &OPENED].map(|count| count.load(Ordering::Relaxed) >= 100);
        assert_eq!(counted, [client.crypto().name() == "counting"; 2], "{:?}", client.crypto());
    }
}

#[test]
fn ciphers_that_a_backend_lacks_are_those_of_the_library() {
    let lacks = COUNTING.aead(Cipher::ChaCha20Poly1305).unwrap().schedule(&[1; 32]);
    let has = cipher::RUST.aead(Cipher::ChaCha20Poly1305).unwrap().schedule(&[1; 32]);
    let seal = |key: &dyn AeadKey| {
        let mut data = [7; 100];
        (key.seal(&[2; 12], &mut data).unwrap(), data)
    };
    assert_eq!(seal(&*lacks), seal(&*has));
}
