//! Configuration files that become stacks.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use o7s::{NetworkConfig, QosSpec, SecurityConfig, Stack};

/// A folder with files, until it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("o7s-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Encryption belongs to a name, and its file is looked for beside the configuration.
#[test]
fn a_name_is_encrypted_as_its_file_says() {
    let network = "[name.secret]\nserver_enc_file = \"enc.conf\"\nclient_enc_file = \"enc.conf\"\n[name.plain]\n\
                   [local.home]\nbootstrap = \"home\"\nreg = [\"secret\", \"plain\"]\n";
    let folder = Folder::new("secret", &[("network.toml", network), ("enc.conf", "kex = X25519\n")]);
    let stack = Stack::from_config(folder.0.join("network.toml")).unwrap();
    for (name, encrypted) in [("secret", true), ("plain", false)] {
        let listener = stack.bind(name).unwrap();
        let server = std::thread::spawn(move || listener.accept().unwrap());
        let flow = stack.flow(name).qos(QosSpec::DATA).alloc().unwrap();
        assert_eq!(flow.is_encrypted(), encrypted, "{name}");
        server.join().unwrap();
    }
}

/// Settings that are missing for one side are those of the whole stack.
#[test]
fn the_other_side_of_a_name_keeps_the_defaults() {
    let network = "[name.echo]\nclient_enc_file = \"none.conf\"\n";
    let folder = Folder::new("sides", &[("network.toml", network), ("none.conf", "none\n")]);
    let config = NetworkConfig::read(folder.0.join("network.toml")).unwrap();
    let default = SecurityConfig::default().kex(Some(o7s::Kex::X25519));
    let stack = Stack::builder().security(default.clone()).build().unwrap();
    stack.network(&config).build().unwrap();
    let security = stack.node().security_of(&"echo".parse().unwrap());
    assert_eq!((security.server, security.client), (default, SecurityConfig::default()));
}

#[test]
fn failures_name_the_table_and_the_cause() {
    let cases = [
        ("[name.a]\nserver_enc_file = \"nowhere.conf\"", ":1:7: the name a cannot be set up", "nowhere.conf: "),
        (
            "[name.a]\nserver_enc_file = \"bad.conf\"",
            ":1:7: the name a cannot be set up",
            "line 1: \"rot13\" is not a value of cipher",
        ),
        (
            "[name.a]\nserver_crt_file = \"a.pem\"",
            ":1:7: the name a cannot be set up",
            "a certificate is of no use without its key",
        ),
        (
            "[eth-dix.e]\nbootstrap = \"l\"\ndev = \"nosuch0\"",
            ":1:10: [eth-dix.e]: the layer l cannot be bootstrapped",
            "the network interface could not be opened: nosuch0: ",
        ),
        (
            "[udp4.u]\nbootstrap = \"l\"\nip = \"192.0.2.1\"",
            ":1:7: [udp4.u]: the layer l cannot be bootstrapped",
            "the address 192.0.2.1:3435 could not be bound: ",
        ),
    ];
    for (text, said, cause) in cases {
        let folder = Folder::new("wrong", &[("network.toml", text), ("bad.conf", "cipher = rot13\n")]);
        let error = Stack::from_config(folder.0.join("network.toml")).unwrap_err();
        assert!(error.source().is_some_and(|source| source.to_string().contains(cause)));
        let text = error.to_string();
        assert!(text.contains(said) && text.contains(cause), "{text}");
    }
}

/// A polled stack has no thread to end the wait for an enrollment.
#[test]
fn a_polled_stack_does_not_wait() {
    let stack = Stack::builder().polled().build().unwrap();
    let local: NetworkConfig = "[local.l]\nbootstrap = \"l\"".parse().unwrap();
    assert_eq!(stack.network(&local).build().unwrap().len(), 1);
    let enrolled: NetworkConfig = "[unicast.a]\nenroll = \"b\"".parse().unwrap();
    let error = stack.network(&enrolled).build().unwrap_err();
    assert!(error.to_string().contains("this stack is polled"), "{error}");
}
