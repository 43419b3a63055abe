//! OAP messages, exchanges, negotiation, configuration files and the replay cache.
//!
//! Where this crate is deliberately stricter than the reference, the test names the entry and the reason.

use o7s::base::rng::Randomness;
use o7s::crypto::SessionKey;
use o7s::crypto::kex::{Encapsulated, KemKey, KeyPair};
use o7s::crypto::suite::{Cipher, Digest, Kdf, Kex};
use o7s::oap::client::{Client, Secret};
use o7s::oap::negotiate::{self, Agreed, Offer};
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::oap::{CertificatePolicy, KemMode, OapError, SecurityConfig, StaticKey};
use o7s::wire::oap::Message;
use serde_json::Value;

use super::crypto::raw_private;
use super::{bytes, entries, nid};

fn name(entry: &Value) -> &str {
    entry["name"].as_str().unwrap()
}

/// A parsed `enc.conf` as the file describes it: `"none"` and 0 stand for what is not set.
fn config(entry: &Value) -> SecurityConfig {
    let default = SecurityConfig::default();
    let kex = entry["kex"].as_str().unwrap();
    SecurityConfig::default()
        .kex((kex != "none").then(|| kex.parse().unwrap()))
        .cipher(Cipher::from_nid(nid(entry, "cipher_nid")).unwrap_or(default.cipher))
        .kdf(Kdf::from_nid(nid(entry, "kdf_nid")).unwrap_or(default.kdf))
        .digest(Digest::from_nid(nid(entry, "digest_nid")))
        .kem_mode(if entry["kem_mode"] == "client" { KemMode::Client } else { KemMode::Server })
}

/// Parses a message, and checks that it encodes to the same bytes.
fn parse(bytes: &[u8], request_digest: Option<u16>) -> Option<Message<'_>> {
    let message = match request_digest {
        Some(digest) => Message::parse_response(bytes, digest),
        None => Message::parse_request(bytes),
    }
    .ok()?;
    assert_eq!(message.to_vec().unwrap(), bytes);
    Some(message)
}

#[test]
fn decode() {
    let (mut accepted, mut refused) = (0, 0);
    for entry in entries("decode") {
        let bytes = bytes(&entry, "bytes");
        let digest = (entry["parsed_as"] == "response").then(|| nid(&entry, "req_digest_nid"));
        let Some(message) = parse(&bytes, digest) else {
            assert_eq!(entry["result"], -1, "{}", name(&entry));
            refused += 1;
            continue;
        };
        assert_eq!(entry["result"], 0, "{}", name(&entry));
        let lengths = [
            ("crt_len", message.certificate.len()),
            ("kex_len", message.kex.bytes.len()),
            ("fmt", message.kex.raw.into()),
            ("role", message.kex.client_encapsulates.into()),
            ("data_len", message.data.len()),
            ("req_hash_len", message.request_hash.len()),
            ("sig_len", message.signature.len()),
        ];
        for (field, value) in lengths {
            assert_eq!(entry[field], value, "{field} of {}", name(&entry));
        }
        accepted += 1;
    }
    assert_eq!((accepted, refused), (11, 11));
}

#[test]
fn config_files() {
    let files = entries("config_files");
    for entry in &files {
        let text = entry["text"].as_str().unwrap();
        let parsed = SecurityConfig::from_enc_conf(text.as_bytes());
        match entry["result"].as_i64().unwrap() {
            0 => assert_eq!(parsed, Ok(config(entry)), "{text:?}"),
            _ => assert!(parsed.is_err_and(|error| error.line().is_some()), "{text:?}"),
        }
    }
    assert_eq!(files.len(), 21);
}

#[test]
fn replay_check() {
    /// The reference forgets a request one millisecond before the time window refuses it, and so serves it again.
    const GAP: &str = "first entry replayed at 20 s + 1 ns: entry purged, still fresh enough, so accepted again";
    const BASE: u64 = 1_760_000_000_000_000_000;

    let checks = entries("replay_check");
    let mut cache = ReplayCache::default();
    let mut stricter = 0;
    for entry in &checks {
        let at = |field: &str| BASE.checked_add_signed(entry[field].as_i64().unwrap()).unwrap();
        let id = [entry["id_byte"].as_u64().unwrap() as u8; 16];
        let verdict = cache.admit(at("receiver_clock_offset_ns"), id, at("timestamp_offset_ns"));
        if entry["note"] == GAP {
            assert_eq!(verdict, Err(OapError::Replayed));
            stricter += 1;
        } else {
            assert_eq!(entry["accepted"], verdict.is_ok(), "{}", entry["note"]);
        }
    }
    assert_eq!((checks.len(), stricter), (11, 1));
}

/// The reference does not look at the strength of the key when the client encapsulates; this crate does.
const STRENGTH_COUNTS: &str = "client-encap ML-KEM-512 key file, server configured ML-KEM-1024 (rank not checked)";
/// The reference's client keeps its own KDF for Diffie-Hellman if its KEM mode says so, and both ends then have different
/// keys; here the mode has no effect on Diffie-Hellman.
const MODE_IS_FOR_KEMS: &str = "quirk: DHE with client kem_mode=client, server kdf stronger";

/// All pairs of configurations, by the rules alone: also for algorithms that are not available.
#[test]
fn negotiation_by_the_rules() {
    let pairs = entries("negotiation");
    for entry in &pairs {
        let (here, there) = (config(&entry["client"]), config(&entry["server"]));
        let offer = here.kex.map(|kex| Offer {
            kex,
            client_encapsulates: kex.is_kem() && here.kem_mode == KemMode::Client,
            cipher: Some(here.cipher),
            kdf: Some(here.kdf),
        });
        let decision = negotiate::server(offer.as_ref(), &there);
        if name(entry) == STRENGTH_COUNTS {
            assert!(matches!(decision, Err(OapError::KexTooWeak { .. })), "{decision:?}");
            continue;
        }
        let agreed = match decision {
            Ok(agreed) => agreed,
            Err(refused) => {
                assert_eq!(entry["server_result"], refused.refusal_code(), "{}", name(entry));
                continue;
            }
        };
        assert_eq!(entry["server_result"], 0, "{}", name(entry));
        let (cipher, kdf) = (agreed.map(|agreed| agreed.cipher), agreed.and_then(|agreed| agreed.kdf));
        assert_eq!(entry["response_cipher_nid"], cipher.map_or(0, Cipher::nid), "{}", name(entry));
        assert_eq!(entry["response_kdf_nid"], kdf.map_or(0, Kdf::nid), "{}", name(entry));

        let taken = negotiate::client(cipher, kdf, &here).unwrap();
        assert_eq!(entry["client_result"], 0);
        assert_eq!(entry["client_cipher"], taken.map_or(0, |taken| taken.cipher.nid()), "{}", name(entry));
        // Equal keys, as far as the rules decide it.
        let kdfs_equal = taken.as_ref().map(Agreed::effective_kdf) == agreed.as_ref().map(Agreed::effective_kdf);
        assert!(kdfs_equal && (entry["keys_equal"] != false || name(entry) == MODE_IS_FOR_KEMS), "{}", name(entry));
    }
    assert_eq!(pairs.len(), 24);
    for deviation in [STRENGTH_COUNTS, MODE_IS_FOR_KEMS] {
        assert!(pairs.iter().any(|entry| name(entry) == deviation));
    }
}

/// All pairs, with real messages and keys.
#[test]
fn negotiation_with_keys() {
    let now = 1_760_000_000_000_000_000;
    let mut rng = Randomness::from_seed([1; 32]);
    let mut seen = ReplayCache::default();
    let (mut run, mut encapsulated, mut stricter) = (0, 0, 0);
    for entry in entries("negotiation") {
        let (mut here, mut there) = (config(&entry["client"]), config(&entry["server"]));
        if let Some(kex) = here.kex.filter(|kex| kex.is_kem() && here.kem_mode == KemMode::Client) {
            let key = StaticKey::new(KemKey::generate(kex, &mut rng.secret).unwrap());
            here = here.server_key(Some(key.key().public_key()));
            there = there.static_keys(vec![key]);
            encapsulated += 1;
        }
        let (client, request) = Client::start(now, &here, &[], &mut rng).unwrap();
        let served = Request::check(now, request, &mut seen)
            .and_then(|request| request.accept(&there)?.respond(now, &[], 0, &mut rng));
        match served {
            Err(OapError::KexTooWeak { .. }) if name(&entry) == STRENGTH_COUNTS => stricter += 1,
            Err(refused) => assert_eq!(entry["server_result"], refused.refusal_code(), "{}", name(&entry)),
            Ok((response, server)) => {
                assert_eq!(entry["server_result"], 0, "{}", name(&entry));
                let client = client.complete(&response).unwrap();
                assert_eq!(client.protection, server.protection, "{}", name(&entry));
                let cipher = server.protection.map_or(0, |(cipher, _)| cipher.nid());
                assert_eq!(entry["server_cipher"], cipher, "{}", name(&entry));
            }
        }
        run += 1;
    }
    assert_eq!((run, encapsulated, stricter), (24, 5, 1));
}

/// The keys of an exchange, as the file has them.
fn key_pair(entry: &Value, field: &str, kex: Option<Kex>) -> Option<KeyPair> {
    let kex = kex.filter(|_| !entry[field].is_null())?;
    Some(KeyPair::from_private(kex, raw_private(kex, &bytes(entry, field))).unwrap())
}

fn data(entry: &Value, field: &str) -> Vec<u8> {
    if entry[field].is_null() { Vec::new() } else { bytes(entry, field) }
}

fn assert_keys(entry: &Value, outcome: &o7s::oap::Outcome) {
    match &outcome.protection {
        Some((cipher, key)) => {
            assert_eq!(entry["negotiated_cipher_nid"], cipher.nid());
            assert_eq!(key.expose()[..], bytes(entry, "session_key"));
        }
        None => assert!(entry["negotiated_cipher_nid"] == 0 && entry["session_key"].is_null()),
    }
}

/// Every message of every exchange decodes and encodes, whatever it carries.
#[test]
fn exchanges_decode() {
    let exchanges = entries("oap_exchanges");
    for entry in &exchanges {
        let (request, response) = (bytes(entry, "request"), bytes(entry, "response"));
        let asked = parse(&request, None).unwrap();
        let answer = parse(&response, Some(asked.digest)).unwrap();
        assert_eq!(asked.timestamp, entry["request_timestamp_ns"].as_u64().unwrap());
        assert_eq!(answer.timestamp, entry["response_timestamp_ns"].as_u64().unwrap());
        assert_eq!(asked.id, answer.id);
        assert_eq!((asked.data, answer.data), (&data(entry, "client_data")[..], &data(entry, "server_data")[..]));
        let parts = &entry["response_parts"];
        assert_eq!(parts["crt_len"], answer.certificate.len());
        assert_eq!(parts["kex_len"], answer.kex.bytes.len());
        assert_eq!(parts["req_hash_len"], answer.request_hash.len());
        assert_eq!(parts["sig_len"], answer.signature.len());
        let digest = Digest::from_nid(nid(entry, "req_hash_digest_nid")).unwrap();
        assert_eq!(answer.request_hash, &*o7s::crypto::hash::digest(digest, &[&request]));
    }
    assert_eq!(exchanges.len(), 12);
}

/// Exchanges with the recorded ids, times and keys give the recorded bytes; those with certificates end with the
/// recorded key where the policy is to ignore them.
#[test]
fn exchanges_run() {
    let (mut exact, mut by_chance, mut unverified) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries("oap_exchanges") {
        let kex = config(&entry["client_config"]).kex;
        let done = if !entry["server_certificate_der"].is_null() {
            run_unverified(&entry, kex);
            &mut unverified
        } else if kex.is_some_and(Kex::is_kem) && entry["server_static_kem_private"].is_null() {
            run_client(&entry);
            &mut by_chance
        } else {
            run_exactly(&entry, kex);
            &mut exact
        };
        done.push(name(&entry).to_owned());
    }
    let expected =
        ["plain", "default-p256", "mlkem768-client-encap", "x25519mlkem768-client-encap", "x448mlkem1024-client-encap"];
    assert_eq!(exact, expected);
    // What the server encapsulates is of its own choice.
    assert_eq!(by_chance, ["mlkem768-server-encap", "x25519mlkem768-server-encap"]);
    // Their certificates and signatures are not verified, and none are made.
    let with_certificates = [
        "x25519-server-ecdsa",
        "x448-mutual-piggyback",
        "auth-only-ed25519",
        "x25519-server-rsa",
        "x25519-server-mldsa65",
    ];
    assert_eq!(unverified, with_certificates);
}

/// The server's static key of an exchange, as it is in its file.
fn static_key(entry: &Value) -> Option<KemKey> {
    let private = entry["server_static_kem_private"].as_str().map(|_| bytes(entry, "server_static_kem_private"))?;
    Some(KemKey::from_pkcs8(&private).or_else(|_| KemKey::from_raw(&private)).unwrap())
}

/// The recorded response, and one of this library.
fn run_client(entry: &Value) {
    let (here, there) = (config(&entry["client_config"]), config(&entry["server_config"]));
    let response = bytes(entry, "response");
    assert_keys(entry, &restart(entry, &here).complete(&response).unwrap());

    let now = entry["response_timestamp_ns"].as_u64().unwrap();
    let request = Request::check(now, bytes(entry, "request"), &mut ReplayCache::default()).unwrap();
    let mut rng = Randomness::from_seed([1; 32]);
    let (again, server) = request.accept(&there).unwrap().respond(now, &[], 0, &mut rng).unwrap();
    let digest = nid(&entry["client_config"], "digest_nid");
    let (recorded, own) = (parse(&response, Some(digest)).unwrap(), parse(&again, Some(digest)).unwrap());
    assert_eq!(own.kex.bytes.len(), recorded.kex.bytes.len());
    assert_ne!(own.kex.bytes, recorded.kex.bytes);
    let own = Message { kex: o7s::wire::oap::Kex { bytes: recorded.kex.bytes, ..own.kex }, ..own };
    assert_eq!(own, recorded, "{}", name(entry));
    assert_eq!(restart(entry, &here).complete(&again).unwrap().protection, server.protection);
}

fn restart(entry: &Value, config: &SecurityConfig) -> Client {
    let request = bytes(entry, "request");
    let recorded = parse(&request, None).unwrap();
    let key = match static_key(entry) {
        // What the client drew is not recorded, but what came of it.
        Some(key) => {
            let session_key = SessionKey::from_bytes(bytes(entry, "session_key").try_into().unwrap());
            Some(Secret::Encapsulated(Encapsulated::from_parts(key.kex(), recorded.kex.bytes.to_vec(), session_key)))
        }
        None => key_pair(entry, "client_kex_private", config.kex).map(Secret::Pair),
    };
    let (client, again) = Client::start_with(
        recorded.timestamp,
        config,
        recorded.data,
        recorded.id,
        key,
        &mut Randomness::from_seed([3; 32]),
    )
    .unwrap();
    assert_eq!(again, request, "{}", name(entry));
    client
}

fn run_exactly(entry: &Value, kex: Option<Kex>) {
    let (here, there) = (config(&entry["client_config"]), config(&entry["server_config"]));
    let there = there.static_keys(static_key(entry).map(StaticKey::new).into_iter().collect());
    let client = restart(entry, &here);

    let now = entry["response_timestamp_ns"].as_u64().unwrap();
    let request = Request::check(now, bytes(entry, "request"), &mut ReplayCache::default()).unwrap();
    let negotiated = request.accept(&there).unwrap();
    let answer = data(entry, "server_data");
    let (response, server) = match key_pair(entry, "server_kex_private", kex) {
        Some(key) => negotiated.respond_with(now, &answer, key, &mut Randomness::from_seed([3; 32])),
        None => negotiated.respond(now, &answer, 0, &mut Randomness::from_seed([1; 32])),
    }
    .unwrap();
    assert_eq!(response, bytes(entry, "response"), "{}", name(entry));
    assert_keys(entry, &server);
    assert_eq!(server.data, data(entry, "client_data"));

    let client = client.complete(&response).unwrap();
    assert_keys(entry, &client);
    assert_eq!(client.data, answer);
}

fn run_unverified(entry: &Value, kex: Option<Kex>) {
    let strict = config(&entry["client_config"]);
    let response = bytes(entry, "response");
    // A request with a signature cannot be made here, and the response is to that alone.
    if entry["client_certificate_der"].is_null() {
        assert_eq!(restart(entry, &strict).complete(&response).unwrap_err(), OapError::NoAuthorities);
        let lenient = strict.certificates(CertificatePolicy::Ignore);
        assert_keys(entry, &restart(entry, &lenient).complete(&response).unwrap());
    }

    // What the server sends is the recorded response, but for certificate and signature.
    let now = entry["response_timestamp_ns"].as_u64().unwrap();
    let request = Request::check(now, bytes(entry, "request"), &mut ReplayCache::default()).unwrap();
    let there = config(&entry["server_config"]).certificates(CertificatePolicy::Ignore);
    let negotiated = request.accept(&there).unwrap();
    let (unsigned, server) = match key_pair(entry, "server_kex_private", kex) {
        Some(key) => {
            negotiated.respond_with(now, &data(entry, "server_data"), key, &mut Randomness::from_seed([3; 32]))
        }
        None => negotiated.respond(now, &[], 0, &mut Randomness::from_seed([1; 32])),
    }
    .unwrap();
    assert_keys(entry, &server);
    let digest = nid(&entry["client_config"], "digest_nid");
    let recorded = Message { certificate: &[], signature: &[], ..parse(&response, Some(digest)).unwrap() };
    assert_eq!(parse(&unsigned, Some(digest)).unwrap(), recorded, "{}", name(entry));
}
