//! Tools that show certificates and demand them, with what `okey` makes.

use std::path::{Path, PathBuf};

use super::*;

/// A directory of keys, until it is dropped.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Self {
        let keys = Self(std::env::temp_dir().join(format!("o7s-okey-{}-{name}", std::process::id())));
        keys.make(&["authority"]);
        keys
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// What `okey` says.
    fn make(&self, options: &[&str]) -> String {
        let output = program("okey").args(["-d", self.path()]).args(options).output().unwrap();
        assert!(output.status.success(), "{options:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn okey_makes_what_the_tools_read_and_overwrites_nothing() {
    let keys = Keys::new("files");
    let made = keys.make(&["server", "vault"]);
    for file in ["key.pem", "crt.pem", "enc.conf"] {
        let path = keys.0.join("server/vault").join(file);
        assert!(made.contains(path.to_str().unwrap()) && path.is_file(), "{made}");
    }
    #[cfg(unix)]
    for secret in ["authority.key.pem", "server/vault/key.pem"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(keys.0.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let warnings = Stack::new().unwrap().load_security(&keys.0).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    for again in [&["authority"][..], &["server", "vault"]] {
        let output = program("okey").args(["-d", keys.path()]).args(again).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("exists"), "{said}");
    }
    for wrong in ["a/b", "", ".hidden"] {
        let output = program("okey").args(["-d", keys.path(), "server", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
    }
    let nowhere = program("okey").args(["-d", "/no such directory", "server", "vault"]).output().unwrap();
    assert!(text(&nowhere.stderr).contains("make an authority first"), "{}", text(&nowhere.stderr));
}

/// Options of both sides.
fn secured(keys: &Keys) -> Vec<&str> {
    vec!["--security", keys.path(), "--require-auth"]
}

#[test]
fn both_ends_say_who_the_other_is() {
    let keys = Keys::new("both");
    for (tool, options) in
        [("oping", &["-c", "1", "-i", "10ms"][..]), ("oecho", &[]), ("operf", &["-d", "1"]), ("ocbr", &["-d", "1"])]
    {
        keys.make(&["server", tool]);
        keys.make(&["client", tool, "--as", "alice"]);
        let mut server = Server::start(tool, &secured(&keys), None);
        let said = server.must(&[options, &secured(&keys)].concat());
        let expected = format!(
            "Flow to \"{tool}\" over udp4: encrypted (X25519, sha256, aes-256-gcm), peer: o7s, \
             authenticated as {tool}, by CN=authority.\n"
        );
        assert!(said.contains(&expected), "{said}");
        let mut lines = server.lines.by_ref().map_while(Result::ok);
        let line = lines.find(|line| line.contains("alice")).unwrap();
        let confirmed = line.ends_with("of alice, by CN=authority.");
        // It is the first packet that shows that the client is there, and perhaps it has come already.
        let claimed = tool != "oecho" && line.ends_with("of alice, by CN=authority (claimed).");
        assert!(confirmed || claimed, "{line}");
    }
}

#[test]
fn who_shows_no_certificate_is_refused_and_told_what_helps() {
    let keys = Keys::new("refused");
    keys.make(&["server", "oecho"]);
    let server = Server::start("oecho", &secured(&keys), None);
    let refused = server.call("oecho", &["--encrypt", "X25519"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("EAUTH") && said.contains("give this side a certificate, with --security DIR"), "{said}");
    // The other way round: a server that shows none.
    let plain = Server::start("oecho", &[], None);
    let refused = plain.call("oecho", &secured(&keys));
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("the peer shows no certificate, which is required here"), "{said}");
}

#[test]
fn what_is_wrong_with_the_directory_is_told() {
    let keys = Keys::new("wrong");
    let options = ["--udp4", "127.0.0.1:0", "--host", "oecho=127.0.0.1:9"];
    let told = |security: &Path| {
        let output = program("oecho").args(options).arg("--security").arg(security).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(told(Path::new("/no such directory")).contains("/no such directory: it cannot be read"));
    keys.make(&["client", "oecho"]);
    std::fs::write(keys.0.join("client/oecho/enc.conf"), "kex=X25519\ncipher=rot13\n").unwrap();
    let said = told(&keys.0);
    assert!(said.contains("client/oecho/enc.conf: line 2: \"rot13\" is not a value of cipher: use one of"), "{said}");
    let output = program("oecho").args(options).arg("--require-auth").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
