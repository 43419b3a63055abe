//! Which flows of UDP layers may move.

use super::{good, says};

#[test]
fn udp_layers_say_which_flows_may_move() {
    for kind in ["udp4", "udp6"] {
        let ip = if kind == "udp4" { "10.0.0.1" } else { "fd00::1" };
        let with = |moves: &str| format!("[{kind}.u]\nbootstrap = \"l\"\nip = \"{ip}\"\n{moves}");
        assert!(!good(&with("")).to_string().contains("moves"), "not said");
        for moves in ["never", "encrypted", "all"] {
            let line = format!("moves = \"{moves}\"");
            let config = good(&with(&line));
            assert!(config.to_string().contains(&line), "{config}");
            assert!(config.warnings.is_empty());
        }
        assert_eq!(
            says(&with("moves = \"some\"")),
            "line 4, column 9: moves = \"some\" is not known; it may be \"never\", \"encrypted\" or \"all\""
        );
    }
    assert!(says("[unicast.u]\nmoves = \"all\"").contains("has no key \"moves\""));
}
