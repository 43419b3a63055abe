//! The reference's directory of settings, certificates and keys.

use o7s::settings::CertificatePolicy::Require;
use o7s::{AllocError, Code, Kex, NetworkConfig, QosSpec, SecurityConfig, SecurityError, Stack};

use crate::world::{Folder, Two, authority_pem, files_of, key_pem};

const ENC: &str = "kex = X25519\n";

/// The directory of a server of the vault, and that of alice, who calls it.
fn two() -> (Folder, Folder) {
    let server = Folder::new(&[("cacert/authority.pem", &authority_pem()), ("server/vault/enc.conf", ENC)]);
    server.identity("server", "vault", "vault");
    let client = Folder::new(&[("cacert/authority.pem", &authority_pem()), ("client/vault/enc.conf", ENC)]);
    client.identity("client", "vault", "alice");
    (server, client)
}

fn requiring() -> SecurityConfig {
    SecurityConfig::default().certificates(Require)
}

#[test]
fn both_ends_from_directories() {
    let (server, client) = two();
    let two = Two::of(
        |stack| stack.security(requiring()).security_dir(&server.0),
        |stack| stack.security(requiring()).security_dir(&client.0),
    );
    let (near, far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(near.peer().to_string(), "vault, by CN=authority 1");
    assert_eq!(far.peer().to_string(), "alice, by CN=authority 1 (claimed)");
    assert!(near.as_blocking().is_encrypted());
    // The authorities count for all names, the rest for one.
    let other = two.server.stack().node().security_of(&"other".parse().unwrap());
    assert!(other.server.authorities.is_some() && other.server.credentials.is_none() && other.server.kex.is_none());
}

#[test]
fn intermediates_are_no_authorities() {
    let (server, client) = two();
    client.remove("cacert");
    client.write("untrusted/authority.pem", &authority_pem());
    let stack = Stack::builder().build().unwrap();
    let warnings = stack.load_security(&client.0).unwrap();
    let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("it is its own issuer, which makes no authority")), "{texts:?}");
    let two = Two::of(|stack| stack.security_dir(&server.0), |stack| stack.security_dir(&client.0));
    assert!(matches!(two.refused(), AllocError::Refused { .. } | AllocError::Security(SecurityError::NoAuthorities)));
}

/// What is missing means what the program says, and never nothing.
#[test]
fn a_missing_file_does_not_turn_off_what_the_stack_demands() {
    let (server, client) = two();
    server.remove("server/vault/enc.conf");
    client.remove("client/vault");
    let demanding = || SecurityConfig::encrypted(Kex::X25519).certificates(Require);
    let two =
        Two::of(|stack| stack.security(demanding()).security_dir(&server.0), |stack| stack.security_dir(&client.0));
    let refused = two.refused();
    assert!(matches!(refused, AllocError::Refused { code: Code::AUTH | Code::CRYPT, .. }), "{refused:?}");
    // Encrypted, but without a certificate.
    two.client.stack().set_default_security(SecurityConfig::encrypted(Kex::X25519));
    let refused = two.refused();
    assert!(matches!(refused, AllocError::Refused { code: Code::AUTH, .. }), "{refused:?}");
}

/// Files, and what the error says.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// Each of these must not become a stack without protection; the text names the file, what is wrong, and what to do.
#[test]
fn what_is_broken_is_an_error() {
    let (certificate, key) = files_of("vault");
    let (other, _) = files_of("bank");
    let kem = "kex = ML-KEM-768\nkem_mode = client\n";
    let cases: &[Case<'_>] = &[
        (&[("server/vault/enc.conf", "cipher = rot13\n")], &["server/vault/enc.conf: line 1:", "rot13", "aes-256-gcm"]),
        (&[("server/vault/enc.conf", "kex = X448\nnone\n")], &["server/vault/enc.conf: it says none", "remove"]),
        (&[("server/vault/enc.conf", "kex = X448\n")], &["enc.conf: X448 does not withstand", "X25519MLKEM768"]),
        (
            &[("server/vault/enc.conf", "kex = ML-KEM-768\ncipher = aes-128-ctr\n")],
            &["aes-128-ctr does not", "aes-256-gcm"],
        ),
        (&[("server/vault/enc.conf/file", "")], &["server/vault/enc.conf: it is no file", "remove it"]),
        (&[("server/enc.conf", ENC)], &["server/enc.conf: it is no directory", "a directory of that name"]),
        (&[("server", ENC)], &["server: it is no directory"]),
        (&[("server/vault/crt.pem", &certificate)], &["server/vault/key.pem: it is missing, but crt.pem is there"]),
        (&[("client/vault/key.pem", &key)], &["client/vault/crt.pem: it is missing, but key.pem is there"]),
        (
            &[("server/vault/crt.pem", &certificate), ("server/vault/key.pem", &key_pem(9))],
            &["server/vault/crt.pem: ", "do not belong together"],
        ),
        (
            &[("server/vault/crt.pem", &certificate), ("server/vault/key.pem", "nothing")],
            &["server/vault/key.pem: private key"],
        ),
        (
            &[("server/vault/crt.pem", &other), ("server/vault/key.pem", &key_pem(104))],
            &["server/vault/crt.pem: it is a certificate of bank", "issue one for vault"],
        ),
        (
            &[("server/bank2/crt.pem", &certificate), ("server/bank2/key.pem", &key)],
            &["server/bank2/crt.pem: it is a certificate of vault", "issue one for bank2"],
        ),
        (
            &[("server/vault/crt.pem", "-----BEGIN CERTIFICATE-----\nAA"), ("server/vault/key.pem", &key)],
            &["server/vault/crt.pem: certificate: line 1:", "cut short"],
        ),
        (
            &[("cacert/broken.pem", "text\n-----BEGIN CERTIFICATE-----\nAA")],
            &["cacert/broken.pem: line 2:", "cut short"],
        ),
        (&[("cacert/more/file", "")], &["cacert/more: it is no file"]),
        (&[("client/vault/enc.conf", kem)], &["client/vault/kex.srv.pub.pem: it is missing", "get it from the server"]),
        (&[("client/vault/enc.conf", kem), ("client/vault/kex.srv.pub.pem", "?")], &["client/vault/kex.srv.pub.pem: "]),
        (
            &[("server/vault/enc.conf", "kex = ML-KEM-768\n"), ("server/vault/kex.key.raw", "?")],
            &["server/vault/kex.key.raw: 1 bytes"],
        ),
        (&[], &["none of server, client, cacert and untrusted is in there"]),
        (&[("servers/vault/enc.conf", ENC)], &["none of server, client, cacert and untrusted is in there"]),
    ];
    for (files, parts) in cases {
        let folder = Folder::new(files);
        let demanding = SecurityConfig::encrypted(Kex::X25519MlKem768).post_quantum(true);
        let error = match Stack::builder().security(demanding).security_dir(&folder.0).build() {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{files:?} is taken"),
        };
        assert!(error.contains(folder.0.to_str().unwrap()), "{error}");
        parts.iter().for_each(|part| assert!(error.contains(part), "{part}: {error}"));
    }
    let error = Stack::builder().security_dir("/nowhere/at/all").build().unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all: it cannot be read") && error.contains("is the path right?"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_not_a_missing_file() {
    let folder = Folder::new(&[("server/vault/key.pem", "")]);
    folder.remove("server/vault/key.pem");
    std::os::unix::fs::symlink("nowhere", folder.0.join("server/vault/enc.conf")).unwrap();
    let error = Stack::builder().security_dir(&folder.0).build().unwrap_err().to_string();
    assert!(error.contains("enc.conf: it cannot be read"), "{error}");
}

#[cfg(unix)]
#[test]
fn what_is_odd_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, _client) = two();
    let key = server.0.join("server/vault/key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    server.write("cacert/again.pem", &authority_pem());
    server.write("clients/vault/enc.conf", ENC);
    let warnings = Stack::new().unwrap().load_security(&server.0).unwrap();
    let texts: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "it is in the store already",
        "clients: nothing in there is read",
        "crt.pem: the certificate has expired at",
        "key.pem: others can read the private key (mode 644)",
    ];
    assert_eq!(texts.len(), expected.len(), "{texts:#?}");
    for part in expected {
        assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:#?}");
    }
}

#[test]
fn files_that_have_changed_count_for_new_flows_and_leave_those_that_are_there_alone() {
    let (server, client) = two();
    let two = Two::of(|stack| stack.security_dir(&server.0), |stack| stack.security_dir(&client.0));
    let (near, far) = two.flow(QosSpec::DATA).unwrap();
    client.identity("client", "vault", "operator");
    client.write("client/vault/enc.conf", "kex = X448\n");
    two.client.stack().load_security(&client.0).unwrap();
    let (later, accepted) = two.flow(QosSpec::DATA).unwrap();
    assert_eq!(accepted.peer().claimed().map(|peer| &*peer.name), Some("operator"));
    assert_eq!(later.as_blocking().security().encryption.unwrap().kex, Kex::X448);
    two.net.block_on(async {
        for _ in 0..3 {
            near.write(b"still there").await.unwrap();
            far.read(&mut [0; 16]).await.unwrap();
        }
    });
    assert_eq!(far.peer().confirmed().map(|peer| &*peer.name), Some("alice"));
}

/// One step: a file that is wrong has nothing of the others taken over.
#[test]
fn all_or_nothing() {
    let (server, client) = two();
    let two = Two::of(|stack| stack.security_dir(&server.0), |stack| stack.security_dir(&client.0));
    client.identity("client", "vault", "operator");
    client.write("client/zoo/enc.conf", "kex = rot13\n");
    let error = two.client.stack().load_security(&client.0).unwrap_err();
    assert_eq!((error.line(), error.path()), (Some(1), client.0.join("client/zoo/enc.conf").as_path()));
    let (_near, far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(far.peer().claimed().map(|peer| &*peer.name), Some("alice"));
    // Certificate and key are replaced one after the other, and the stack is told in between.
    client.remove("client/zoo");
    client.write("client/vault/key.pem", &key_pem(9));
    assert!(two.client.stack().load_security(&client.0).is_err());
    let (_near, far) = two.flow(QosSpec::RAW).unwrap();
    assert_eq!(far.peer().claimed().map(|peer| &*peer.name), Some("alice"));
    // A name that has gone has the settings of the stack again.
    client.remove("client/vault");
    two.client.stack().load_security(&client.0).unwrap();
    assert!(matches!(two.refused(), AllocError::Refused { code: Code::CRYPT, .. }), "it asks for a plain flow");
}

/// What was encapsulated to a key is remembered when the same key is read again.
#[test]
fn a_static_key_that_is_read_again_keeps_its_memory() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("../data/vectors/oap.json")).unwrap();
    let hybrid = vectors["kem"].as_array().unwrap().iter().find(|case| case["alg"] == "X25519MLKEM768").unwrap();
    let hex = hybrid["private_raw"].as_str().unwrap();
    let raw: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let folder = Folder::new(&[("server/vault/enc.conf", "kex = X25519MLKEM768\n")]);
    std::fs::write(folder.0.join("server/vault/kex.key.raw"), raw).unwrap();
    let stack = Stack::builder().security_dir(&folder.0).build().unwrap();
    let keys = || stack.node().security_of(&"vault".parse().unwrap()).server.static_keys;
    let before = keys();
    stack.load_security(&folder.0).unwrap();
    assert_eq!((before.len(), keys()), (1, before));
}

#[test]
fn a_configuration_file_names_the_directory_and_the_demand() {
    let (server, _client) = two();
    let text = "[security]\ndir = \".\"\nrequire = \"authentication\"\n[local.home]\nbootstrap = \"home\"\n";
    server.write("network.toml", text);
    let stack = Stack::from_config(server.0.join("network.toml")).unwrap();
    let vault = stack.node().security_of(&"vault".parse().unwrap()).server;
    assert!(vault.required && vault.certificates == Require && vault.credentials.is_some());
    assert_eq!(vault.kex, Some(Kex::X25519), "of the file");
    let other = stack.node().security_of(&"other".parse().unwrap());
    assert!(other.server.required && other.client.kex == Some(Kex::X25519MlKem768));
    // The directory must satisfy the demand.
    server.write("server/vault/enc.conf", "none\n");
    let error = Stack::from_config(server.0.join("network.toml")).unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(1), Some(2)));
    assert!(error.to_string().contains("enc.conf: it says none, but this stack demands encryption"), "{error}");
    let printed = NetworkConfig::read(server.0.join("network.toml")).unwrap().to_string();
    assert!(printed.starts_with("[security]\ndir = \".\"\nrequire = \"authentication\"\n"), "{printed}");
}

#[test]
fn files_of_a_single_name_in_a_configuration_file() {
    let (server, _client) = two();
    let text = "[name.vault]\nserver_crt_file = \"server/vault/crt.pem\"\nserver_key_file = \"server/vault/key.pem\"\n";
    server.write("network.toml", text);
    let stack = Stack::from_config(server.0.join("network.toml")).unwrap();
    let vault = stack.node().security_of(&"vault".parse().unwrap());
    assert_eq!(vault.server.credentials.unwrap().name().unwrap(), "vault");
    assert!(vault.client.credentials.is_none());
    server.write("network.toml", "[name.vault]\nserver_crt_file = \"server/vault/crt.pem\"\n");
    let error = Stack::from_config(server.0.join("network.toml")).unwrap_err();
    assert!(error.to_string().contains("name both files"), "{error}");
}

/// Who signs may be code of the program: it is dropped where no lock is held.
#[test]
fn a_signer_that_is_replaced_may_use_the_stack_as_it_goes() {
    use o7s::certificate::{Certificate, Credentials};
    use o7s::keys::{PrivateKey, PublicKey, SignError, Signer};
    use std::sync::{Arc, Mutex};

    struct Agent(PrivateKey, Mutex<Option<Stack>>);
    impl Signer for Agent {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign(
            &self,
            message: &[u8],
            digest: Option<o7s::Digest>,
            rng: &mut dyn o7s::keys::CryptoRng,
        ) -> Result<Vec<u8>, SignError> {
            self.0.sign(message, digest, rng)
        }
    }
    impl Drop for Agent {
        fn drop(&mut self) {
            if let Some(stack) = self.1.lock().unwrap().take() {
                stack.set_default_security(SecurityConfig::default());
                stack.set_security("other", SecurityConfig::default(), SecurityConfig::default()).unwrap();
            }
        }
    }
    let stack = Stack::new().unwrap();
    let (certificate, key) = crate::world::signed_by(crate::world::AUTHORITY, "vault", |wanted| wanted);
    let agent = Agent(key, Mutex::new(Some(stack.clone())));
    let own = Credentials::new(Certificate::from_der(&certificate, 10_000).unwrap(), Arc::new(agent)).unwrap();
    stack.set_default_security(SecurityConfig::default().credentials(Some(own)));
    stack.set_default_security(SecurityConfig::default());
    assert!(stack.node().security_of(&"other".parse().unwrap()).server.credentials.is_none());
}
