//! A peer's certificate, before an authority that issued two: no panic, and nothing is accepted that it did not issue.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use o7s::crypto::certificate::{Certificate, CertificateError, Date, Limits, TrustStore};
use o7s::crypto::pem;

const NOW: Date = Date::from_unix(1_796_000_000);

struct World {
    store: TrustStore,
    issued: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut store = TrustStore::new();
    let mut issued = Vec::new();
    let folders = [
        [
            &include_bytes!("../../tests/data/certificates/reference/ec/ca.pem")[..],
            include_bytes!("../../tests/data/certificates/reference/ec/oping.crt.pem"),
            include_bytes!("../../tests/data/certificates/reference/ec/client.crt.pem"),
        ],
        [
            include_bytes!("../../tests/data/certificates/reference/ed/ca.pem"),
            include_bytes!("../../tests/data/certificates/reference/ed/oping.crt.pem"),
            include_bytes!("../../tests/data/certificates/reference/ed/client.crt.pem"),
        ],
    ];
    for [ca, leaves @ ..] in folders {
        assert!(store.add_authorities(ca).unwrap().is_empty());
        issued.extend(leaves.map(|leaf| pem::blocks(leaf).unwrap()[0].content.to_vec()));
    }
    World { store, issued }
});

fuzz_target!(|input: &[u8]| {
    let limits = Limits::default();
    match WORLD.store.verify(input, None, NOW, &limits) {
        Ok(peer) => {
            assert!(WORLD.issued.iter().any(|issued| issued == input), "nobody issued it");
            assert!(["oping", "client"].contains(&&*peer.name));
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1200 && !text.contains(char::is_control), "{text:?}");
        }
    }
    if let Ok(certificate) = Certificate::from_der(input, limits.size) {
        assert_eq!(certificate.der(), input);
        assert!(certificate.subject().len() < 250 && certificate.issuer().len() < 250);
        match certificate.name() {
            Ok(name) => assert!((1..256).contains(&name.len()) && !name.contains([',', '/', '\0'])),
            Err(error) => assert!(matches!(error, CertificateError::Name { .. })),
        }
        // As an authority it may be anything but forged: it would have to be signed with its own key.
        let mut store = TrustStore::new();
        let left_out = store.add_authorities(input).expect("it parses");
        assert_eq!(store.authorities().len() + left_out.len(), 1);
        let _ = store.verify(input, None, NOW, &limits);
    }
});
