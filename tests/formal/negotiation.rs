//! Every pair of settings: what comes of it is what the rules of the specification say, and never below either side's floor.

use std::fmt::Debug;

use o7s::base::rng::Randomness;
use o7s::crypto::suite::{Cipher, Kdf, Kex};
use o7s::oap::client;
use o7s::oap::negotiate::{self, Agreed, Offer};
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::oap::{KemMode, OapError, SecurityConfig};

const NOW: u64 = 1_760_000_000_000_000_000;

type Decision = Result<Option<Agreed>, OapError>;
type Server = fn(Option<&Offer>, &SecurityConfig) -> Decision;
type Client = fn(Option<Cipher>, Option<Kdf>, &SecurityConfig) -> Decision;

/// The rules that are explored.
#[derive(Clone, Copy)]
struct Rules {
    server: Server,
    client: Client,
}

const REAL: Rules = Rules { server: negotiate::server, client: negotiate::client };

fn settings(kex: Option<Kex>) -> Vec<SecurityConfig> {
    let modes = if kex.is_some_and(Kex::is_kem) { &[KemMode::Server, KemMode::Client][..] } else { &[KemMode::Server] };
    let mut all = Vec::new();
    for cipher in Cipher::ALL {
        // It makes a difference where nothing better than a cipher without authentication need come of it.
        let allowed = if cipher.is_aead() && kex.is_some() { &[false][..] } else { &[false, true] };
        for kdf in Kdf::ALL {
            for mode in modes {
                let config = SecurityConfig::default().kex(kex).cipher(*cipher).kdf(*kdf).kem_mode(*mode);
                all.extend(allowed.iter().map(|allowed| config.clone().allow_unauthenticated(*allowed)));
            }
        }
    }
    all
}

/// Settings of a client and of a server, each with and without every key exchange.
fn all_settings() -> Vec<SecurityConfig> {
    let exchanges = Kex::ALL.iter().copied().map(Some).chain([None]);
    exchanges.flat_map(settings).collect()
}

/// What a client with these settings says in its request, if it asks at all.
fn offer(config: &SecurityConfig) -> Result<Option<Offer>, OapError> {
    let Some(kex) = config.kex else { return Ok(None) };
    if !config.cipher.is_aead() && !config.allow_unauthenticated {
        return Err(OapError::Unauthenticated(config.cipher));
    }
    let client_encapsulates = kex.is_kem() && config.kem_mode == KemMode::Client;
    Ok(Some(Offer { kex, client_encapsulates, cipher: Some(config.cipher), kdf: Some(config.kdf) }))
}

/// The specification (section 5), in ranks: 0 is none. The strength of the key exchange counts also if the client encapsulates,
/// which the reference leaves out, and a cipher without authentication takes both ends to allow it.
fn specified(client: &SecurityConfig, server: &SecurityConfig, encapsulates: bool, required: bool) -> Outcome {
    let ([kex, cipher, kdf], [own_kex, own_cipher, own_kdf]) = (ranks(client), ranks(server));
    let server_has_kem = server.kex.is_some_and(Kex::is_kem);
    let authenticates = |rank| Cipher::ALL.iter().any(|cipher| cipher.rank() == rank && cipher.is_aead());
    match () {
        () if kex == 0 && (own_kex > 0 || required) => Outcome::Refused,
        () if kex == 0 => Outcome::Plain,
        () if !authenticates(cipher) && !client.allow_unauthenticated => Outcome::Refused,
        () if !authenticates(cipher.max(own_cipher)) && !server.allow_unauthenticated => Outcome::Refused,
        () if encapsulates && !server_has_kem => Outcome::Refused,
        () if kex < own_kex => Outcome::Refused,
        () if encapsulates && kdf < own_kdf => Outcome::Refused,
        () => Outcome::Encrypted([kex, cipher.max(own_cipher), kdf.max(own_kdf)]),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Plain,
    Encrypted([u8; 3]),
}

impl Outcome {
    fn of<E: Debug>(result: &Result<Option<Agreed>, E>) -> Self {
        match result {
            Err(_) => Self::Refused,
            Ok(None) => Self::Plain,
            Ok(Some(agreed)) => {
                Self::Encrypted([agreed.kex.rank(), agreed.cipher.rank(), agreed.effective_kdf().rank()])
            }
        }
    }
}

fn ranks(config: &SecurityConfig) -> [u8; 3] {
    config.kex.map_or([0; 3], |kex| [kex.rank(), config.cipher.rank(), config.kdf.rank()])
}

/// The rank of the weakest cipher that an end takes at all.
fn weakest_cipher(config: &SecurityConfig) -> u8 {
    let taken = Cipher::ALL.iter().filter(|cipher| cipher.is_aead() || config.allow_unauthenticated);
    taken.map(|cipher| cipher.rank()).min().unwrap()
}

/// The first pair of settings whose outcome is not as specified, or not the same at both ends.
fn honest(rules: Rules) -> Result<usize, String> {
    let all = all_settings();
    let mut explored = 0;
    for server in &all {
        for client in &all {
            let asked = offer(client);
            let encapsulates = matches!(asked, Ok(Some(Offer { client_encapsulates: true, .. })));
            for required in [false, true] {
                let specified = specified(client, server, encapsulates, required);
                let server = server.clone().required(required);
                let there = asked.clone().and_then(|asked| (rules.server)(asked.as_ref(), &server));
                let here = there.clone().and_then(|agreed| {
                    (rules.client)(agreed.map(|agreed| agreed.cipher), agreed.and_then(|agreed| agreed.kdf), client)
                });
                explored += 1;
                if (Outcome::of(&there), Outcome::of(&here)) != (specified, specified) {
                    return Err(format!("{client:?} and {server:?}: {specified:?}, not {there:?} and {here:?}"));
                }
            }
        }
    }
    Ok(explored)
}

/// What anybody may offer to a server, who then never has less than its own settings.
fn strange_offers(rules: Rules) -> Result<usize, String> {
    let mut explored = 0;
    for server in all_settings() {
        let [own_kex, own_cipher, own_kdf] = ranks(&server);
        for (kex, client_encapsulates) in Kex::ALL.iter().flat_map(|kex| [(*kex, false), (*kex, true)]) {
            for cipher in Cipher::ALL.iter().copied().map(Some).chain([None]) {
                for kdf in Kdf::ALL.iter().copied().map(Some).chain([None]) {
                    let offer = Offer { kex, client_encapsulates, cipher, kdf };
                    explored += 1;
                    if let Outcome::Encrypted(got) = Outcome::of(&(rules.server)(Some(&offer), &server))
                        && (got[0] < own_kex || got[1] < own_cipher.max(weakest_cipher(&server)) || got[2] < own_kdf)
                    {
                        return Err(format!("{offer:?} and {server:?}: {got:?}"));
                    }
                }
            }
        }
    }
    Ok(explored)
}

/// What anybody may answer to a client, who then never has less than its own settings.
fn strange_answers(rules: Rules) -> Result<usize, String> {
    let mut explored = 0;
    for client in all_settings() {
        for cipher in Cipher::ALL.iter().copied().map(Some).chain([None]) {
            for kdf in Kdf::ALL.iter().copied().map(Some).chain([None]) {
                explored += 1;
                let outcome = Outcome::of(&(rules.client)(cipher, kdf, &client));
                let mut least = ranks(&client);
                least[1] = least[1].max(weakest_cipher(&client));
                let good = match outcome {
                    Outcome::Refused => true,
                    Outcome::Plain => least[0] == 0,
                    Outcome::Encrypted(got) => least[0] > 0 && got.iter().zip(least).all(|(got, least)| *got >= least),
                };
                if !good {
                    return Err(format!("{cipher:?} and {kdf:?} for {client:?}: {outcome:?}"));
                }
            }
        }
    }
    Ok(explored)
}

#[test]
fn every_pair_of_settings_comes_to_what_is_specified() {
    let explored = honest(REAL).unwrap_or_else(|error| panic!("{error}"));
    assert!(explored > 1_000_000, "{explored}");
}

#[test]
fn nobody_is_talked_below_the_own_settings() {
    assert!(strange_offers(REAL).unwrap_or_else(|error| panic!("{error}")) > 1_000_000);
    assert!(strange_answers(REAL).unwrap_or_else(|error| panic!("{error}")) > 10_000);
}

/// The exploration would prove nothing if it did not find these.
#[test]
fn planted_faults_are_found() {
    let all = |rules| honest(rules).and_then(|_| strange_offers(rules)).and_then(|_| strange_answers(rules));
    let servers: [Server; 6] = [
        // A cipher without authentication, because the client names it.
        |offer, config| negotiate::server(offer, &config.clone().allow_unauthenticated(true)),
        // The cipher of the client, whatever the server has.
        |offer, config| {
            let agreed = negotiate::server(offer, config)?;
            Ok(agreed.map(|agreed| Agreed { cipher: offer.unwrap().cipher.unwrap_or(agreed.cipher), ..agreed }))
        },
        // The weaker hash.
        |offer, config| {
            let agreed = negotiate::server(offer, config)?;
            let own = config.kex.map(|_| config.kdf);
            Ok(agreed.map(|agreed| Agreed { kdf: offer.unwrap().kdf.min(own).or(agreed.kdf), ..agreed }))
        },
        // No least key exchange.
        |offer, config| match negotiate::server(offer, config) {
            Err(OapError::KexTooWeak { .. }) => {
                Ok(Some(Agreed { kex: offer.unwrap().kex, cipher: config.cipher, kdf: Some(config.kdf) }))
            }
            other => other,
        },
        // Plain flows for all.
        |offer, config| match negotiate::server(offer, config) {
            Err(OapError::Plain) => Ok(None),
            other => other,
        },
        // A client that encapsulates has its key already.
        |offer, config| match negotiate::server(offer, config) {
            Err(OapError::KdfTooWeak { .. }) => {
                Ok(Some(Agreed { kex: offer.unwrap().kex, cipher: config.cipher, kdf: offer.unwrap().kdf }))
            }
            other => other,
        },
    ];
    for (at, server) in servers.into_iter().enumerate() {
        assert!(all(Rules { server, ..REAL }).is_err(), "fault {at} of the server");
    }
    let clients: [Client; 4] = [
        // A cipher without authentication, because the server names it.
        |cipher, kdf, config| negotiate::client(cipher, kdf, &config.clone().allow_unauthenticated(true)),
        // Any cipher.
        |cipher, kdf, config| match negotiate::client(cipher, kdf, config) {
            Err(OapError::CipherTooWeak { .. }) => {
                negotiate::client(cipher, kdf, &config.clone().cipher(cipher.unwrap()))
            }
            other => other,
        },
        // Plain, because the answer says so.
        |cipher, kdf, config| if cipher.is_none() { Ok(None) } else { negotiate::client(cipher, kdf, config) },
        // Its own hash, whatever the server has.
        |cipher, _, config| negotiate::client(cipher, None, config),
    ];
    for (at, client) in clients.into_iter().enumerate() {
        assert!(all(Rules { client, ..REAL }).is_err(), "fault {at} of the client");
    }
}

/// The same with real messages and keys, for what this build can do.
#[test]
fn the_machines_come_to_the_same() {
    let exchanges: Vec<_> = Kex::ALL.iter().copied().filter(|kex| kex.is_available()).collect();
    let ciphers: Vec<_> = Cipher::ALL.iter().copied().filter(|cipher| cipher.is_available()).collect();
    let mut all = vec![SecurityConfig::default()];
    all.extend(exchanges.iter().map(|kex| SecurityConfig::default().kex(Some(*kex))));
    // The choice of cipher and hash does not depend on the exchange.
    for cipher in ciphers.iter().filter(|_| exchanges.contains(&Kex::X25519)) {
        let hashes = [Kdf::Blake2s256, Kdf::Sha256, Kdf::Sha3_512];
        let with = |kdf| SecurityConfig::default().kex(Some(Kex::X25519)).cipher(*cipher).kdf(kdf);
        all.extend(hashes.map(with));
        all.extend((!cipher.is_aead()).then(|| with(Kdf::Sha256).allow_unauthenticated(true)));
    }
    let mut rng = Randomness::from_seed([7; 32]);
    for server in &all {
        for client in &all {
            let specified = specified(client, server, false, false);
            let (here, request) = match client::Client::start(NOW, client, b"", &mut rng) {
                Ok(asked) => asked,
                Err(error) => {
                    assert_eq!(offer(client), Err(error), "{client:?}");
                    continue;
                }
            };
            let request = Request::check(NOW, request, &mut ReplayCache::default()).unwrap();
            let there = request.accept(server).and_then(|negotiated| negotiated.respond(NOW, b"", 0, &mut rng));
            let (response, there) = match there {
                Ok(done) => done,
                Err(error) => {
                    assert_eq!(specified, Outcome::Refused, "{error}: {client:?} and {server:?}");
                    continue;
                }
            };
            let here = here.complete(&response).unwrap();
            assert_eq!(here.protection, there.protection, "{client:?} and {server:?}");
            assert_eq!(here.security, there.security);
            let encryption = here.security.encryption;
            let got = encryption
                .map_or(Outcome::Plain, |e| Outcome::Encrypted([e.kex.rank(), e.cipher.rank(), e.kdf.rank()]));
            assert_eq!(got, specified, "{client:?} and {server:?}");
        }
    }
}
