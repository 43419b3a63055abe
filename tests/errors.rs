//! Every error text: printed, and checked for what its reader needs.
#![cfg(feature = "std")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panics"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use o7s::oap::OapError;
use o7s::{
    AllocError, BroadcastLayer, Cipher, CloseError, Eth, HashAlg, LocalConfig, Name, NetworkConfig, QosSpec, ReadError,
    SecurityConfig, Stack, StackError, Udp4, UnicastLayer, WriteError,
};

/// All `.rs` files below `dir`.
fn sources(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The texts of all `#[error("...")]` attributes in a source file.
fn texts(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for part in source.split("#[error(").skip(1) {
        let Some(literal) = part.trim_start().strip_prefix('"') else { continue };
        let mut text = String::new();
        let mut chars = literal.chars();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            text.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        texts.push(text);
    }
    texts
}

/// Returns the faults of an error text.
fn faults(text: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let mut check = |wrong: bool, what| {
        if wrong {
            faults.push(what);
        }
    };
    check(text.trim().is_empty(), "says nothing");
    check(text.chars().next().is_some_and(char::is_uppercase) && !text.starts_with("OAP"), "begins with a capital");
    check(text.ends_with(['.', '!', ' ']), "ends like a sentence");
    // Whoever reads it may have a file or options in hand, not the interface.
    check(text.replace("fe80::1", "").contains("::"), "names an item of the library");
    check(text.contains('\n') || text.contains("  "), "has more than one line or space");
    check(["this is no", "whoever", "for ever", "is none"].iter().any(|phrase| text.contains(phrase)), "is a riddle");
    check(text.len() > 160, "is too long");
    check(text.contains("other side"), "has another word for the other end");
    faults
}

#[test]
fn error_texts_follow_the_rules() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut bad = Vec::new();
    let mut n = 0;
    for file in files {
        for text in texts(&std::fs::read_to_string(&file).unwrap()) {
            println!("{}: {text}", file.file_name().unwrap().display());
            n += 1;
            let mut faults = faults(&text);
            // In a handshake there are peers; a flow has two ends.
            if of_flows(&file) && text.contains("the peer") {
                faults.push("has another word for the other end");
            }
            if !faults.is_empty() {
                bad.push(format!("{}: \"{text}\" {}", file.display(), faults.join(", ")));
            }
        }
    }
    assert!(n > 150, "only {n} texts were found");
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Returns `true` for files whose errors are about flows, as programs see them.
fn of_flows(file: &Path) -> bool {
    ["flow", "node", "stack"]
        .iter()
        .any(|room| file.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room)))
}

/// The text of a variant of an enum in a file of `src`.
fn text_of(file: &str, name: &str, variant: &str) -> String {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).unwrap();
    let all = source.split(&format!("pub enum {name} {{")).nth(1).unwrap().split("\n}").next().unwrap();
    let is_it = |line: &str| {
        line.starts_with(&format!("    {variant}")) && !line[4 + variant.len()..].starts_with(char::is_alphanumeric)
    };
    let before = all.lines().take_while(|line| !is_it(line)).collect::<Vec<_>>().join("\n");
    assert!(before.len() < all.len(), "{file}: {name}::{variant}");
    texts(&before).pop().unwrap()
}

/// What is said of an error inside and to programs is the same, but for what only programs can do about it.
#[test]
fn errors_that_are_told_on_keep_their_text() {
    let alloc = ["Unreachable", "LookupTimedOut", "TimedOut", "Refused", "TooManyFlows"]
        .map(|v| ("node/alloc.rs", "AllocError", v, v));
    let member = ["NoLayer", "UnknownThere", "Silent", "TimedOut", "NoAddress", "GivenUp"];
    let member = member.map(|v| ("node/member/error.rs", "MemberError", v, v));
    let join = ["NoLayer", "TooManyFlows"].map(|v| ("node/join.rs", "JoinError", v, v));
    let accept = ["Closed", "TimedOut"].map(|v| ("node/accept.rs", "AcceptError", v, v));
    let same = alloc.into_iter().chain(member).chain(join).chain(accept);
    let down = [("node/alloc.rs", "AllocError"), ("node/member/error.rs", "MemberError")];
    let down = down.map(|(file, name)| (file, name, name, "StackDown", "Down"));
    let renamed = [
        ("irm/mod.rs", "BindError", "BindError", "Full", "TooManyNames"),
        ("ipcp/mod.rs", "RegisterError", "BindError", "Full", "LayerFull"),
        ("ipcp/mod.rs", "RegisterError", "BindError", "NoNames", "NoNames"),
        ("ipcp/mod.rs", "JoinError", "JoinError", "Full", "LayerFull"),
        ("ipcp/request.rs", "RequestError", "AllocError", "Full", "LayerFull"),
        ("ipcp/request.rs", "RequestError", "AllocError", "TooLarge", "TooLarge"),
        ("ipcp/request.rs", "RequestError", "AllocError", "Unsent", "Unsent"),
        ("ipcp/connect/manager.rs", "ManagerError", "MemberError", "Full", "TooManyConnections"),
    ];
    let all = same.map(|(file, name, inner, outer)| (file, name, name, inner, outer)).chain(down).chain(renamed);
    let mut other = Vec::new();
    for (file, name, told_as, inner, outer) in all {
        let (inside, told) = (text_of(file, name, inner), text_of("stack/error.rs", told_as, outer));
        if !told.starts_with(&inside) {
            other.push(format!("{file}, {name}::{inner}: \"{inside}\", but to programs \"{told}\""));
        }
    }
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn the_rules_find_faults() {
    for text in ["the other side", "", "No route", "it failed.", "see o7s::crypto", "two  spaces", "this is no TOML"] {
        assert!(!faults(text).is_empty(), "{text:?}");
    }
    assert!(faults("the stack was shut down").is_empty());
    assert_eq!(texts("#[error(\"a \\\"b\\\"\")] A, #[error(transparent)] B, #[error(\n \"c\")] C"), ["a \"b\"", "c"]);
}

/// Fails unless the text of `error` contains all of `parts`, and what its sources say.
fn says(error: &dyn Error, parts: &[&str]) {
    let text = error.to_string();
    println!("{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
    let mut source = error.source();
    while let Some(cause) = source {
        assert!(text.contains(&cause.to_string()), "{text:?} does not say {cause:?}");
        source = cause.source();
    }
}

#[test]
fn invalid_names_are_refused_and_named_by_every_operation() {
    let stack = Stack::new().unwrap();
    let net = stack.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    let local = stack.local(LocalConfig::new("local", "local"));
    let long = "x".repeat(300);
    let names: [(&str, &[&str]); 3] = [
        ("", &["\"\"", "empty", "255"]),
        ("a\0b", &["\"a\\0b\"", "byte 1", "NUL"]),
        (&long, &["\"xxxx", "300 bytes", "255"]),
    ];
    for (name, parts) in names {
        says(&stack.bind(name).unwrap_err(), parts);
        says(&stack.flow(name).qos(QosSpec::DATA).alloc().unwrap_err(), parts);
        says(&stack.set_security(name, SecurityConfig::default(), SecurityConfig::default()).unwrap_err(), parts);
        says(&stack.join(name).unwrap_err(), parts);
        says(&net.register(name).unwrap_err(), parts);
        says(&stack.unicast(name).over(&local).bootstrap(UnicastLayer::new("net")).unwrap_err(), parts);
        says(&stack.unicast("node").over(&local).bootstrap(UnicastLayer::new(name)).unwrap_err(), parts);
        says(&stack.unicast(name).over(&local).enroll("net").unwrap_err(), parts);
        says(&stack.unicast("node").over(&local).enroll(name).unwrap_err(), parts);
        says(&stack.broadcast(name).over(&local).bootstrap(BroadcastLayer::new("news")).unwrap_err(), parts);
        says(&stack.broadcast("node").over(&local).bootstrap(BroadcastLayer::new(name)).unwrap_err(), parts);
        says(&stack.udp4(Udp4::bind("127.0.0.1:0").name(name)).unwrap_err(), parts);
        says(&stack.udp4(Udp4::bind("127.0.0.1:0").host(name, "127.0.0.1")).unwrap_err(), parts);
    }
}

#[test]
fn unknown_algorithms_are_named_beside_the_possible_ones() {
    let unknown = |text: &str| text.parse::<SecurityConfig>().unwrap_err();
    says(&unknown("X25519,aes-512"), &["\"aes-512\"", "cipher", "aes-256-gcm", "chacha20-poly1305"]);
    says(&unknown("x25519"), &["\"x25519\"", "key exchange", "X25519", "prime256v1"]);
    says(&unknown("X25519,aes-256-gcm,md5"), &["\"md5\"", "hash", "sha256", "blake2b512"]);
    says(&unknown("X25519,aes-256-ctr"), &["aes-256-ctr", "does not authenticate", "aes-256-gcm"]);
    assert!(!unknown("X25519,aes-512").to_string().contains("ctr"), "what does not authenticate is not offered");
}

#[test]
fn invalid_addresses_are_named() {
    let stack = Stack::new().unwrap();
    says(&stack.udp4(Udp4::bind("localhost")).unwrap_err(), &["\"localhost\"", "IP:PORT"]);
    says(&stack.udp4(Udp4::bind("[::1]:80")).unwrap_err(), &["[::1]:80", "IPv4", "Udp6"]);
    says(&stack.udp4(Udp4::bind("192.0.2.1:80")).unwrap_err(), &["192.0.2.1:80", "bound", "address of this host"]);
    let net = stack.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    let taken = net.local_addr().unwrap().to_string();
    says(&stack.udp4(Udp4::bind(&taken)).unwrap_err(), &[&taken, "bound", "another port", "port 0"]);
    let denied =
        StackError::Bind { addr: "127.0.0.1:80".parse().unwrap(), error: std::io::ErrorKind::PermissionDenied.into() };
    says(&denied, &["127.0.0.1:80", "1024", "privileges"]);
    // Whether for lack of such an interface, of the right, or of a system that has it.
    says(&stack.eth(Eth::dix("nosuch0")).unwrap_err(), &["interface", "nosuch0: "]);
    says(&stack.udp4(Udp4::bind("127.0.0.1").port(0)).unwrap_err(), &["cannot have port 0", "IP:0"]);
    says(&stack.udp4(Udp4::bind("127.0.0.1:0").host("echo", "nowhere")).unwrap_err(), &["\"nowhere\"", "IP:PORT"]);
}

#[test]
fn unknown_names_are_named() {
    let stack = Stack::new().unwrap();
    let local = stack.local(LocalConfig::new("local", "local"));
    says(&stack.flow("echo").alloc().unwrap_err(), &["\"echo\"", "no layer", "UDP layer", "its host"]);
    says(&stack.join("news").unwrap_err(), &["\"news\"", "broadcast"]);
    says(&stack.unicast("node").over(&local).enroll("net").unwrap_err(), &["\"net\"", "no layer"]);
    says(&local.connect("net").unwrap_err(), &["no connections"]);
}

/// Why a client with this security has no flow to a server with that one.
fn refused(client: &str, server: &str, name: &str) -> AllocError {
    let stack = |security: &str| {
        let security = if security.is_empty() { SecurityConfig::default() } else { security.parse().unwrap() };
        Stack::builder().security(security.clone()).build().unwrap()
    };
    let (server, client) = (stack(server), stack(client));
    let net = server.udp4(Udp4::bind("127.0.0.1:0")).unwrap();
    net.register("echo").unwrap();
    server.bind_handler("echo", drop).unwrap();
    let at = net.local_addr().unwrap().to_string();
    client.udp4(Udp4::bind("127.0.0.1:0").host("echo", &at).host("nobody", &at)).unwrap();
    client.flow(name).timeout(Duration::from_secs(20)).alloc().unwrap_err()
}

#[test]
fn refusals_name_what_was_asked_for() {
    says(&refused("", "", "nobody"), &["\"nobody\"", "ENAME", "registered"]);
    says(&refused("", "X25519", "echo"), &["\"echo\"", "ECRYPT", "plain flow", "may require encryption"]);
    let weak = refused("prime256v1,aes-128-gcm", "X25519", "echo");
    says(&weak, &["\"echo\"", "ECRYPT", "prime256v1", "aes-128-gcm", "sha256"]);
}

#[test]
fn algorithms_of_both_sides_are_named_where_both_are_known() {
    let weak = OapError::KexTooWeak { peer: o7s::Kex::Prime256v1, own: o7s::Kex::X25519 };
    says(&AllocError::Security(weak), &["key exchange", "prime256v1", "weaker", "X25519"]);
}

/// Checks the output of a program whose `main` returns the error, or that unwraps it.
fn printed(error: &dyn Error, variant: &str) {
    let printed = format!("{error:?}");
    println!("Error: {printed}");
    assert_eq!(printed, format!("{variant}({error})"));
}

#[test]
fn errors_that_main_returns_are_printed_by_their_text() {
    let stack = Stack::new().unwrap();
    let local = stack.local(LocalConfig::new("local", "local"));
    printed(&stack.flow("echo").alloc().unwrap_err(), "AllocError::Unreachable");
    printed(&stack.bind("").unwrap_err(), "BindError::Name");
    printed(&"".parse::<Name>().unwrap_err(), "NameError::Empty");
    printed(&stack.bind("echo").unwrap().try_accept().unwrap_err(), "AcceptError::WouldBlock");
    printed(&local.connect("net").unwrap_err(), "MemberError::NoMember");
    printed(&stack.join("news").unwrap_err(), "JoinError::NoLayer");
    printed(&stack.udp4(Udp4::bind("localhost")).unwrap_err(), "StackError::Address");
    printed(&"aes".parse::<SecurityConfig>().unwrap_err(), "ConfigError");
    printed(&"aes".parse::<Cipher>().unwrap_err(), "ParseError");
    printed(&"fast".parse::<QosSpec>().unwrap_err(), "ParseError");
    printed(&"crc".parse::<HashAlg>().unwrap_err(), "ParseError");
    printed(&"[udp4".parse::<NetworkConfig>().unwrap_err(), "ConfigError");
    printed(&ReadError::TooSmall { size: 9, room: 4 }, "ReadError::TooSmall");
    printed(&WriteError::TooLarge { size: 9, max: 4 }, "WriteError::TooLarge");
    printed(&CloseError::Lost { packets: 3 }, "CloseError::Lost");
    let io = std::io::Error::from(stack.flow("echo").alloc().unwrap_err());
    assert!(format!("{io:?}").contains("no layer of this stack knows the name \"echo\""), "{io:?}");
}
