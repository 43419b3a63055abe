//! Valid files, invalid files with their errors, and random files.

mod moves;
mod printing;

use proptest::prelude::*;

use self::printing::content;
use super::error::Hint;
use super::*;
use crate::types::layer::{CongestionAvoidance, Dht, LinkState, RoutePolicy};

fn good(text: &str) -> NetworkConfig {
    NetworkConfig::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The only IPCP of a file.
fn ipcp(text: &str) -> IpcpConfig {
    let [ipcp] = <[_; 1]>::try_from(good(text).ipcps).unwrap();
    ipcp
}

fn layer(text: &str) -> Layer {
    match ipcp(text).membership {
        Membership::Bootstrap { parameters, .. } => parameters,
        other => panic!("{other:?}"),
    }
}

fn unicast(keys: &str) -> Unicast {
    match layer(&format!("[unicast.a]\nbootstrap = \"l\"\n{keys}")) {
        Layer::Unicast { parameters, .. } => parameters,
        other => panic!("{other:?}"),
    }
}

fn says(text: &str) -> String {
    match NetworkConfig::parse(text) {
        Err(error) => error.to_string(),
        Ok(config) => panic!("{config:?}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(ConfigWarning::to_string).collect()
}

#[test]
fn an_empty_file_is_an_empty_network() {
    for text in ["# nothing\n", "[name]\n[unicast]\n"] {
        let empty = NetworkConfig { warnings: Vec::new(), ..good(text) };
        assert_eq!(empty, NetworkConfig::default());
        assert_eq!(warnings(text), ["line 1, column 1: there is nothing in this file, so no layer is made"]);
    }
}

#[test]
fn members_that_nobody_can_join_are_told() {
    let below = "[udp4.u]\nbootstrap = \"i\"\nip = \"10.0.0.1\"\n";
    for kind in ["unicast", "broadcast"] {
        let alone = format!("{below}[{kind}.m]\nbootstrap = \"l\"\n");
        let why = "nobody can enroll with this IPCP: the layer stays its own, unless you write autobind = true";
        let column = kind.len() + 3;
        assert_eq!(warnings(&alone), [format!("line 4, column {column}: [{kind}.m]: {why}")]);
        assert!(warnings(&format!("{alone}autobind = true")).is_empty());
        let why = "no layer of this file carries its packets: add an IPCP of another type, such as [udp4.NAME]";
        for how in ["bootstrap = \"l\"\nautobind = true", "enrol = \"other\""] {
            let nothing_below = format!("[{kind}.m]\n{how}\n");
            assert_eq!(warnings(&nothing_below), [format!("line 1, column {column}: [{kind}.m]: {why}")]);
            assert!(warnings(&format!("{nothing_below}{below}")).is_empty());
        }
    }
}

#[test]
fn all_types_have_defaults() {
    let config = good(
        r#"
        [local.l]
        bootstrap = "home"
        [udp4.u]
        bootstrap = "v4"
        ip = "10.0.0.1"
        [udp6.v]
        bootstrap = "v6"
        ip = "fd00::1"
        [eth-dix.d]
        bootstrap = "dix"
        dev = "eth0"
        [eth-llc.e]
        bootstrap = "llc"
        dev = "eth1"
        [unicast.n]
        bootstrap = "net"
        [broadcast.b]
        bootstrap = "news"
        "#,
    );
    // The members accept nobody by default.
    assert_eq!(config.warnings.iter().map(|warning| warning.why).collect::<Vec<_>>(), [Why::Alone; 2]);
    let hash = HashAlg::Sha3_256;
    let expected = [
        ("l", "home", Layer::Local { hash }),
        ("u", "v4", Layer::Udp4 { ip: [10, 0, 0, 1].into(), port: 3435, dns: None }),
        ("v", "v6", Layer::Udp6 { ip: "fd00::1".parse().unwrap(), port: 3435, dns: None }),
        ("d", "dix", Layer::EthDix { device: "eth0".into(), ethertype: 0xA000, hash }),
        ("e", "llc", Layer::EthLlc { device: "eth1".into(), hash }),
        ("n", "net", Layer::Unicast { hash, parameters: Unicast::default() }),
        ("b", "news", Layer::Broadcast),
    ];
    assert_eq!(config.ipcps.len(), expected.len());
    for (ipcp, (own, of, parameters)) in config.ipcps.iter().zip(expected) {
        assert_eq!((ipcp.name.as_str(), ipcp.autobind), (own, false));
        assert_eq!(ipcp.membership, Membership::Bootstrap { layer: name(of), parameters });
    }
}

#[test]
fn all_keys_are_read() {
    let all = ipcp(
        r#"
        [unicast.a]
        bootstrap = "l"
        autobind = true
        detection = 500
        reg = ["a", "b"]
        hash = "SHA3_512"
        addr_size = 4
        eid_size = 8
        max_ttl = 9
        addr-auth = "flat"
        routing = "ecmp"
        ls_t_recalc = 1
        ls_t_update = 2
        ls_t_timeo = 4
        congestion = "none"
        directory = "DHT"
        dht_alpha = 1
        dht_k = 20
        dht_t_expire = 10
        dht_t_refresh = 3
        dht_t_replicate = 3600
        "#,
    );
    let routing = LinkState { policy: RoutePolicy::EqualCostMultipath, t_recalc: 1, t_update: 2, t_timeo: 4 };
    let directory = Dht { alpha: 1, k: 20, t_expire: 10, t_refresh: 3, t_replicate: 3600, ..Dht::default() };
    let congestion = CongestionAvoidance::None;
    let parameters = Unicast { max_ttl: 9, routing, directory, congestion, ..Unicast::default() };
    let parameters = Layer::Unicast { hash: HashAlg::Sha3_512, parameters };
    assert_eq!(all.membership, Membership::Bootstrap { layer: name("l"), parameters });
    assert!(all.autobind);
    assert_eq!(all.detection, Some(Duration::from_millis(500)));
    assert_eq!(all.register, [name("a"), name("b")]);

    let dix = "[eth-dix.d]\nbootstrap = \"l\"\ndev = \"e\"\nethertype = 0xFFFE\nhash = \"SHA3_224\"";
    assert_eq!(layer(dix), Layer::EthDix { device: "e".into(), ethertype: 0xFFFE, hash: HashAlg::Sha3_224 });
    let udp = "[udp4.u]\nbootstrap = \"l\"\nip = \"1.2.3.4\"\nport = 1_000\ndns = \"9.9.9.9\"";
    assert_eq!(layer(udp), Layer::Udp4 { ip: [1, 2, 3, 4].into(), port: 1000, dns: Some([9, 9, 9, 9].into()) });
    let udp = "[udp6.u]\nbootstrap = \"l\"\nip = \"::1\"\ndns = \"::2\"";
    let (ip, dns) = ("::1".parse().unwrap(), Some("::2".parse().unwrap()));
    assert_eq!(layer(udp), Layer::Udp6 { ip, port: 3435, dns });
    let udp = "[udp6.u]\nbootstrap = \"l\"\nip = \"fe80::1%eth0.7\"";
    let Layer::Udp6 { ip, .. } = layer(udp) else { panic!("{udp}") };
    assert_eq!((ip.ip, ip.interface.as_deref()), ("fe80::1".parse().unwrap(), Some("eth0.7")));
}

/// The timeout is a local setting: members that enroll have it too.
#[test]
fn detection_timeouts_are_local() {
    let of = |text: &str| ipcp(text).member_config().detection;
    let member = "[unicast.a]\nenrol = \"b\"";
    assert_eq!(of(member), crate::ipcp::unicast::Config::default().detection);
    assert_eq!(of(&format!("{member}\ndetection = 250")), Duration::from_millis(250));
    assert_eq!(of(&format!("{member}\ndetection = 0")), Duration::ZERO);
    let below = "[local.l]\nbootstrap = \"l\"\n";
    assert!(good(&format!("{below}{member}\ndetection = 250")).warnings.is_empty());
    for wrong in ["[unicast.a]\nenrol = \"b\"\ndetection = -1", "[unicast.a]\nenrol = \"b\"\ndetection = 600001"] {
        let error = wrong.parse::<NetworkConfig>().unwrap_err().to_string();
        assert!(error.ends_with("it may be 0 to 600000 ms"), "{error}");
    }
    let elsewhere = "[broadcast.a]\nenrol = \"b\"\ndetection = 1".parse::<NetworkConfig>();
    assert!(elsewhere.unwrap_err().to_string().contains("no key \"detection\""));
}

#[test]
fn enrollments_and_connections_are_read() {
    let member = ipcp("[broadcast.b]\nenrol = \"a\"\nconn = [\"a\", \"c\"]\nautobind = true");
    assert_eq!(member.membership, Membership::Enroll { with: name("a") });
    assert_eq!(member.connect, [name("a"), name("c")]);
    assert_eq!((member.kind, member.autobind), (IpcpKind::Broadcast, true));
    assert!(member.connect_over.is_empty());
    let member = ipcp("[unicast.b]\nenrol = \"a\"\nconn = [\"a\"]\nconn_over = [\"left\", \"right\"]");
    assert_eq!(member.connect_over, [name("left"), name("right")]);
    // It wins over bootstrap, and what is said about the layer is in vain.
    let both = "[unicast.u]\nbootstrap = \"l\"\nenrol = \"a\"\nmax_ttl = 3";
    assert_eq!(ipcp(both).membership, Membership::Enroll { with: name("a") });
    let (layers, below) = (Why::Enrolled, Why::NothingBelow);
    assert_eq!(good(both).warnings.iter().map(|w| w.why).collect::<Vec<_>>(), [below, layers, layers]);
}

#[test]
fn names_are_read() {
    let config = good(
        r#"
        [name.oping]
        lb = "round-robin"
        prog = ["/usr/bin/oping", "/usr/bin/other"]
        args = ["--listen  -v"]
        server_enc_file = "enc.conf"
        client_crt_file = "crt.pem"
        client_key_file = "key.pem"
        [name."with a blank"]
        "#,
    );
    let [oping, other] = <[_; 2]>::try_from(config.names).unwrap();
    assert_eq!((oping.name.as_str(), oping.balancing), ("oping", LoadBalancing::RoundRobin));
    let program = |path: &str, arguments| Program { path: path.into(), arguments };
    let arguments = vec!["--listen".to_owned(), "-v".to_owned()];
    assert_eq!(oping.programs, [program("/usr/bin/oping", Some(arguments)), program("/usr/bin/other", None)]);
    assert_eq!(oping.server, SecurityFiles { encryption: Some("enc.conf".into()), ..SecurityFiles::default() });
    let client = (Some(PathBuf::from("crt.pem")), Some(PathBuf::from("key.pem")));
    assert_eq!((oping.client.certificate, oping.client.key), client);
    assert_eq!((other.name.as_str(), other.balancing), ("with a blank", LoadBalancing::Spillover));
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(oping.at, Position { line: 2, column: 15 });
}

/// Documented and parsed spellings of the reference, which differ.
#[test]
fn both_spellings_are_accepted() {
    for key in ["congestion = \"mb-ecn\"", "congestion = \"lfa\"", ""] {
        assert_eq!(unicast(key).congestion, CongestionAvoidance::MbEcn);
    }
    for key in ["dht_t_expiry", "dht_t_expire"] {
        assert_eq!(unicast(&format!("{key} = 77")).directory.t_expire, 77);
    }
    for key in ["directory = \"dht\"", "addr_auth = \"flat\"", "routing = \"link_state\""] {
        assert_eq!(unicast(key), Unicast::default());
    }
    for key in ["enrol", "enroll"] {
        let member = ipcp(&format!("[unicast.a]\n{key} = \"b\""));
        assert_eq!(member.membership, Membership::Enroll { with: name("b") });
    }
    assert!(!ipcp("[unicast.a]\nbootstrap = \"l\"\nautobind = false").autobind);
    assert_eq!(good("[name.n]\nlb = \"spillover\"").names[0].balancing, LoadBalancing::Spillover);
}

#[test]
fn tables_of_one_type_are_merged() {
    let config = good(
        r#"
        [unicast.c]
        enrol = "x"
        [udp4.b]
        bootstrap = "l"
        ip = "1.2.3.4"
        [unicast.a]
        enrol = "y"
        "#,
    );
    let names: Vec<_> = config.ipcps.iter().map(|ipcp| ipcp.name.as_str()).collect();
    assert_eq!(names, ["c", "a", "b"]);
}

#[test]
fn errors_have_position_and_text() {
    let cases = [
        ("[unicast.a", "line 1, column 11: invalid TOML: unclosed table, expected `]`"),
        ("x", "line 1, column 2: invalid TOML: key with no value, expected `=`"),
        ("[local.a]\n[local.a]", "line 2, column 8: invalid TOML: duplicate key"),
        ("[unicats.a]", "line 1, column 2: there is no [unicats]; did you mean \"unicast\"?"),
        (
            "\n[quantum.a]",
            "line 2, column 2: there is no [quantum]; it may be \"local\", \"udp4\", \"udp6\", \"eth-dix\", \
             \"eth-llc\", \"unicast\", \"broadcast\", \"name\" or \"security\"",
        ),
        ("unicast = 3", "line 1, column 1: unicast must be a table, not an integer"),
        ("[udp4]\nip = \"1.2.3.4\"", "line 2, column 1: udp4.ip must be a table, not a string"),
        (
            "[unicast.a]\nbootstap = \"l\"",
            "line 2, column 1: [unicast.a] has no key \"bootstap\"; did you mean \"bootstrap\"?",
        ),
        ("[unicast.a]\nDHT_K = 3", "line 2, column 1: [unicast.a] has no key \"DHT_K\"; did you mean \"dht_k\"?"),
        (
            "[eth-llc.a]\nethertype = 3",
            "line 2, column 1: [eth-llc.a] has no key \"ethertype\"; it may be \"bootstrap\", \"enrol\", \"autobind\", \
             \"reg\", \"conn\", \"dev\" or \"hash\"",
        ),
        (
            "[unicast.a]\nenrol = \"b\"\nenroll = \"b\"",
            "line 3, column 1: \"enroll\" is another spelling of \"enrol\", which is there already; remove one",
        ),
        ("[unicast.a]\nautobind = 1", "line 2, column 12: autobind must be true or false, not an integer"),
        ("[unicast.a]\nreg = \"x\"", "line 2, column 7: reg must be an array of strings, not a string"),
        (
            "[unicast.a]\nreg = [\"x\", 3.0]",
            "line 2, column 13: reg must be an array of strings, not a number with a fraction",
        ),
        (
            "[udp4.a]\nconn_over = [\"x\"]",
            "line 2, column 1: [udp4.a] has no key \"conn_over\"; it may be \"bootstrap\", \"enrol\", \"autobind\", \"reg\", \
             \"conn\", \"moves\", \"ip\", \"port\" or \"dns\"",
        ),
        ("[unicast.a]\nmax_ttl = 256", "line 2, column 11: max_ttl = 256 is out of range; it may be 1 to 255"),
        ("[unicast.a]\nmax_ttl = \"1\"", "line 2, column 11: max_ttl must be an integer, not a string"),
        (
            "[unicast.a]\nls_t_recalc = 0",
            "line 2, column 15: ls_t_recalc = 0 is out of range; it may be 1 to 4294967295 s",
        ),
        (
            "[unicast.a]\nls_t_recalc = -1",
            "line 2, column 15: ls_t_recalc = -1 is out of range; it may be 1 to 4294967295 s",
        ),
        // Links would be taken for dead before they are announced again, or if one announcement is lost.
        (
            "[unicast.a]\nls_t_update = 10\nls_t_timeo = 19",
            "line 3, column 14: ls_t_timeo = 19 is out of range; it may be 20 to 4294967295 s",
        ),
        ("[unicast.a]\nls_t_update = 31", "line 2, column 15: ls_t_update = 31 is out of range; it may be 1 to 30 s"),
        ("[unicast.a]\naddr_size = 8", "line 2, column 13: addr_size = 8 is out of range; it may be 4 only"),
        ("[unicast.a]\neid_size = 9", "line 2, column 12: eid_size = 9 is out of range; it may be 1 to 8"),
        ("[unicast.a]\ndht_alpha = 11", "line 2, column 13: dht_alpha = 11 is out of range; it may be 1 to 10"),
        ("[unicast.a]\ndht_k = 0x15", "line 2, column 9: dht_k = 0x15 is out of range; it may be 0x1 to 0x14"),
        (
            "[unicast.a]\ndht_t_expiry = 9",
            "line 2, column 16: dht_t_expire = 9 is out of range; it may be 10 to 86400 s",
        ),
        (
            "[unicast.a]\ndht_t_refresh = 2",
            "line 2, column 17: dht_t_refresh = 2 is out of range; it may be 3 to 3600 s",
        ),
        (
            "[unicast.a]\ndht_t_replicate = 3601",
            "line 2, column 19: dht_t_replicate = 3601 is out of range; it may be 3 to 3600 s",
        ),
        (
            "[eth-dix.a]\nethertype = 0xFFFF",
            "line 2, column 13: ethertype = 0xFFFF is out of range; it may be 0x600 to 0xFFFE",
        ),
        ("[udp4.a]\nport = 65536", "line 2, column 8: port = 65536 is out of range; it may be 0 to 65535"),
        (
            "[unicast.a]\nrouting = \"ospf\"",
            "line 2, column 11: routing = \"ospf\" is not known; it may be \"link-state\", \"lfa\" or \"ecmp\"",
        ),
        (
            "[unicast.a]\ncongestion = \"mb_ecn\"",
            "line 2, column 14: congestion = \"mb_ecn\" is not known; did you mean \"mb-ecn\"?",
        ),
        ("[unicast.a]\naddr-auth = \"x\"", "line 2, column 13: addr-auth = \"x\" is not known; it may be \"flat\""),
        (
            "[unicast.a]\nhash = \"MD5\"",
            "line 2, column 8: hash = \"MD5\" is not known; it may be \"SHA3_224\", \"SHA3_256\", \"SHA3_384\" or \"SHA3_512\"",
        ),
        (
            "[name.a]\nlb = \"robin\"",
            "line 2, column 6: lb = \"robin\" is not known; it may be \"spill\" or \"round-robin\"",
        ),
        ("[udp4.a]\nip = \"::1\"", "line 2, column 6: ip = \"::1\" is not an IPv4 address; write it like 10.9.0.1"),
        (
            "[udp6.a]\nip = \"1.2.3.4\"",
            "line 2, column 6: ip = \"1.2.3.4\" is not an IPv6 address; write it like fd00::1",
        ),
        ("[udp6.a]\nbootstrap = \"l\"", "line 1, column 7: [udp6.a] needs ip: the address of this host in the network"),
        ("[eth-dix.a]\nbootstrap = \"l\"", "line 1, column 10: [eth-dix.a] needs dev: the network interface"),
        ("[eth-dix.a]\ndev = \"\"", "line 2, column 7: dev must have 1 to 255 bytes"),
        (
            "[unicast.a]\nbootstrap = \"\"",
            "line 2, column 13: bootstrap: invalid name \"\": it is empty, and a name has 1 to 255 bytes",
        ),
        (
            "[unicast.\"\"]",
            r#"line 1, column 10: unicast."": invalid name "": it is empty, and a name has 1 to 255 bytes"#,
        ),
        (
            "[unicast.a]\nreg = [\"x\", \"\"]",
            "line 2, column 13: reg: invalid name \"\": it is empty, and a name has 1 to 255 bytes",
        ),
        (
            "[local.a]\nenrol = \"b\"",
            "line 2, column 9: local layers have no enrol: its members are not enrolled; write bootstrap = \"<layer>\"",
        ),
        (
            "[broadcast.a]\nenrol = \"b\"\nreg = [\"x\"]",
            "line 3, column 7: broadcast layers have no reg: there are no flows to names in them; join the layer by its own name",
        ),
        (
            "[name.a]\nprog = [\"x\"]\nargs = [\"\", \"\"]",
            "line 3, column 8: there are arguments for 2 programs, but prog has 1; give one string for each program",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(says(text), expected, "{text}");
    }
    let long = format!("[name.a]\nserver_enc_file = \"{}\"", "x".repeat(512));
    assert_eq!(says(&long), "line 2, column 19: server_enc_file must have 1 to 511 bytes");
    assert_eq!(says(&" ".repeat(MAX_LEN + 1)), "the file has more than 1048576 bytes: is it a configuration?");
    let long = format!("[unicast.a]\n{} = 1", "k".repeat(9999));
    assert!(says(&long).len() < 600);
}

#[test]
fn entries_without_effect_are_warned_of() {
    let cases = [
        (
            "[name.a]\nprog = [\"x\"]",
            "line 2, column 1: prog in [name.a]: programs are not started; bind the name in this one",
        ),
        (
            "[udp4.a]\nbootstrap = \"l\"\nip = \"1.2.3.4\"\ndns = \"1.2.3.5\"",
            "line 4, column 1: dns in [udp4.a]: no dynamic DNS is updated; names are looked up with the system's resolver",
        ),
        (
            "[unicast.a]\nenroll = \"b\"\nbootstrap = \"l\"",
            "line 3, column 1: bootstrap in [unicast.a]: an IPCP that is enrolled gets the layer's settings from the layer",
        ),
        (
            "[unicast.a]\nmax_ttl = 3",
            "line 1, column 10: [unicast.a]: the IPCP neither bootstraps a layer nor is it enrolled",
        ),
        ("[udp4.a]", "line 1, column 7: [udp4.a]: the IPCP neither bootstraps a layer nor is it enrolled"),
        (
            "[unicast.a]\nbootstrap = \"l\"\nconn = [\"b\"]",
            "line 3, column 1: conn in [unicast.a]: only an IPCP that is enrolled connects to others",
        ),
        (
            "[unicast.a]\nenrol = \"b\"\nconn_over = [\"l\"]",
            "line 3, column 1: conn_over in [unicast.a]: there is no conn, and so no member to connect to over it",
        ),
        (
            "[broadcast.a]\nbootstrap = \"l\"\nconn_over = [\"x\"]",
            "line 3, column 1: conn_over in [broadcast.a]: only an IPCP that is enrolled connects to others",
        ),
        (
            "[local.a]\nbootstrap = \"l\"\nautobind = true",
            "line 3, column 1: autobind in [local.a]: an IPCP of this type is not addressed by its name",
        ),
        (
            "[unicast.a]\nbootstrap = \"l\"\neid_size = 4",
            "line 3, column 1: eid_size in [unicast.a]: every EID has 8 bytes; the number is only passed on to members that are enrolled",
        ),
        (
            "[local.a]\nbootstrap = \"l\"\n[unicast.a]\nbootstrap = \"m\"",
            "line 3, column 10: [unicast.a]: another IPCP has the same name",
        ),
    ];
    for (text, expected) in cases {
        let mut warned = warnings(text);
        // Their members are as lonely as the examples are short.
        warned.retain(|warning| !warning.contains("nobody can enroll") && !warning.contains("no layer of this file"));
        assert_eq!(warned, [expected], "{text}");
    }
}

#[test]
fn columns_count_characters() {
    assert_eq!(says("[unicast.\"ä\"]\nmax_ttl = { ü = \"ö\", x"), says("[unicast.\"a\"]\nmax_ttl = { u = \"o\", x"));
    let error = NetworkConfig::parse("[unicast.\"ääää\".b]\nx = 1").unwrap_err();
    assert_eq!((error.line(), error.column()), (Some(1), Some(17)));
}

#[test]
fn files_are_read() {
    let path = std::env::temp_dir().join(format!("o7s-config-{}.toml", std::process::id()));
    let missing = NetworkConfig::read(&path).unwrap_err();
    assert!(std::error::Error::source(&missing).is_some_and(|error| error.is::<std::io::Error>()));
    assert_eq!(
        missing.to_string(),
        format!("{}: the file cannot be read: No such file or directory (os error 2)", path.display())
    );
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        NetworkConfig::read(&path).map_err(|error| error.to_string())
    };
    assert_eq!(error(b"[local.a]\nbootstrap = \"l\"\r\n").unwrap().ipcps.len(), 1);
    let at = path.display();
    assert_eq!(error(b"[x]").unwrap_err().split_once(' ').unwrap().0, format!("{at}:1:2:"));
    assert_eq!(error(b"# \xff").unwrap_err(), format!("{at}:1:3: the file is not valid UTF-8"));
    assert!(error(&vec![b'\n'; MAX_LEN + 9]).unwrap_err().starts_with(&format!("{at}: the file has more than")));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn misspellings_are_recognised() {
    let hint = |found| Hint::new(found, ["bootstrap", "reg", "dht_k", "dht_t_refresh"]);
    assert_eq!(hint("rge"), Hint::Known(vec!["bootstrap", "reg", "dht_k", "dht_t_refresh"]));
    for (found, nearest) in
        [("re", "reg"), ("REG", "reg"), ("boot_strap", "bootstrap"), ("dht_t_refesh", "dht_t_refresh")]
    {
        assert_eq!(hint(found), Hint::Nearest(nearest), "{found}");
    }
    assert!(matches!(hint(""), Hint::Known(_)));
}

/// Lines that are nearly valid.
fn line() -> impl Strategy<Value = String> {
    let table = prop::sample::select(vec![
        "[name.a]",
        "[name.b]",
        "[local.a]",
        "[udp4.b]",
        "[udp6.c]",
        "[eth-dix.d]",
        "[eth-llc.e]",
        "[unicast.f]",
        "[broadcast.g]",
        "[unicast]",
        "[unicast.f.g]",
        "[[name]]",
    ]);
    let key = prop::sample::select(vec![
        "bootstrap",
        "enrol",
        "enroll",
        "autobind",
        "reg",
        "conn",
        "hash",
        "dev",
        "ethertype",
        "ip",
        "port",
        "dns",
        "addr_size",
        "max_ttl",
        "routing",
        "congestion",
        "dht_k",
        "dht_t_expiry",
        "detection",
        "lb",
        "prog",
        "args",
        "x",
        "a.b",
    ]);
    let value = prop::sample::select(vec![
        "\"a\"",
        "\"\"",
        "true",
        "3",
        "-1",
        "0xFFFF",
        "99999999999999999999",
        "1.5",
        "[]",
        "[\"a\", \"b\"]",
        "[1]",
        "{}",
        "{ bootstrap = \"l\" }",
        "\"1.2.3.4\"",
        "\"::1\"",
        "\"SHA3_256\"",
        "\"ecmp\"",
        "1979-05-27",
        "\"\\u0000\"",
    ]);
    prop_oneof![table.prop_map(str::to_owned), (key, value).prop_map(|(key, value)| format!("{key} = {value}")),]
}

proptest! {
    #[test]
    fn arbitrary_texts_do_not_panic(text in "\\PC*") {
        let _ = NetworkConfig::parse(&text);
    }

    /// An error has a position in the file and a text.
    #[test]
    fn arbitrary_files_do_not_panic(lines in prop::collection::vec(line(), 0..12)) {
        match NetworkConfig::parse(&lines.join("\n")) {
            Ok(config) => {
                config.warnings.iter().for_each(|w| assert!(w.at.line <= lines.len().max(1)));
                let enrolled = config.ipcps.iter().filter(|ipcp| matches!(ipcp.membership, Membership::Enroll { .. }));
                enrolled.for_each(|ipcp| assert!(ipcp.kind.is_recursive()));
                prop_assert_eq!(content(good(&config.to_string())), content(config));
            }
            Err(error) => {
                prop_assert!(error.line().unwrap() <= lines.len());
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
