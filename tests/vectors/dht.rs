//! Messages of the directory, in the packets that carry them, and the configuration of a directory in an enrollment.
//!
//! The judgement of some entries is not the decoder's: who asked, and whether a time has passed, is not in the bytes.

use o7s::types::id::Address;
use o7s::types::layer::{Dht, LayerConfig, LayerKind, Unicast};
use o7s::types::name::{HashAlg, NameHash};
use o7s::wire::WireError;
use o7s::wire::dht::{Body, Contact, Message};
use o7s::wire::dt::{DIRECTORY, LayerSizes, Pci};
use o7s::wire::enroll::{Response, Verdict};
use serde_json::Value;

use super::{bytes, from_hex};

fn file() -> Value {
    serde_json::from_str(include_str!("../data/vectors/dht.json")).unwrap()
}

fn list(member: &str, kind: Option<&str>) -> Vec<Value> {
    let file = file();
    let entries = file[member].as_array().unwrap().iter();
    entries.filter(|entry| kind.is_none_or(|kind| entry["kind"] == kind)).cloned().collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn hash(entry: &Value, field: &str) -> NameHash {
    NameHash::new(&bytes(entry, field)).unwrap()
}

fn contact(entry: &Value) -> Contact {
    Contact { id: hash(entry, "id"), address: Address(number(&entry["addr"])) }
}

fn value(hex: &str) -> Address {
    Address(u64::from_be_bytes(from_hex(hex).try_into().unwrap()))
}

/// The message that an entry describes by its fields.
fn described(fields: &Value) -> Message {
    let (store, find, node) = (&fields["store"], &fields["find"], &fields["node"]);
    let contacts = || node["contacts"].as_array().unwrap().iter().map(contact).collect();
    let body = match number(&fields["code"]) {
        0 => Body::Store {
            key: hash(store, "key"),
            value: value(store["val"].as_str().unwrap()),
            expires: number(&store["exp"]).try_into().unwrap(),
        },
        1 => Body::FindNode { cookie: number(&find["cookie"]), key: hash(find, "key") },
        2 => Body::FoundNode { cookie: number(&node["cookie"]), key: hash(node, "key"), contacts: contacts() },
        3 => Body::FindValue { cookie: number(&find["cookie"]), key: hash(find, "key") },
        4 => {
            let values = fields["val"]["values"].as_array().unwrap().iter();
            Body::FoundValue {
                cookie: number(&node["cookie"]),
                key: hash(node, "key"),
                contacts: contacts(),
                values: values.map(|hex| value(hex.as_str().unwrap())).collect(),
            }
        }
        code => panic!("code {code}"),
    };
    Message { src: contact(&fields["src"]), body }
}

#[test]
fn messages_encode_and_decode() {
    let entries = list("messages", Some("positive"));
    assert_eq!(entries.len(), 13);
    for entry in entries {
        let (name, wire) = (&entry["name"], bytes(&entry, "hex"));
        assert_eq!(wire.len() as u64, number(&entry["length"]), "{name}");
        let message = described(&entry["fields"]);
        let alg = if name == "store_sha3_224" { HashAlg::Sha3_224 } else { HashAlg::Sha3_256 };
        assert_eq!(Message::decode(alg, &wire).as_ref(), Ok(&message), "{name}");
        assert_eq!(message.encode().unwrap(), wire, "{name}");

        let sizes = LayerSizes::default();
        let frame = bytes(&entry, "dt_frame_hex");
        let (pci, payload) = Pci::parse(sizes, &frame).unwrap();
        let dst = u64::from_str_radix(entry["dt_dst"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
        assert_eq!(pci, Pci { dst: Address(dst), qos: 0, ttl: 60, ecn: 0, eid: DIRECTORY }, "{name}");
        assert_eq!(payload, wire, "{name}");
        let mut header = vec![0; sizes.header_len()];
        pci.emit(sizes, &mut header).unwrap();
        assert_eq!(header, frame[..header.len()], "{name}");
    }
}

#[test]
fn bad_messages_are_refused() {
    let entries = list("messages", Some("negative"));
    assert_eq!(entries.len(), 21);
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let result = Message::decode(HashAlg::Sha3_256, &bytes(&entry, "hex"));
        let missing = |field| Err(WireError::Missing { field });
        let length = |field, value| Err(WireError::Length { field, value });
        let expected = match name {
            "src_id_31_bytes" => length("id", 31),
            "src_addr_zero" => Err(WireError::Invalid { field: "address" }),
            "missing_src" => missing("src"),
            "missing_code" => missing("code"),
            "missing_exp" => missing("field of store"),
            "missing_cookie" => missing("field of find"),
            "find_key_31_bytes" => length("key", 31),
            "find_key_33_bytes" => length("key", 33),
            "find_part_absent" => missing("find"),
            "store_part_absent" => missing("store"),
            "store_empty_val" => length("value", 0),
            "value_rsp_without_node" => missing("node"),
            "value_rsp_without_val" => missing("val"),
            "unknown_code_5" => Err(WireError::Unknown { field: "dht code", value: 5 }),
            "truncated" => Err(WireError::Malformed { message: "dht message" }),
            // For the directory to judge.
            "store_expired" => {
                assert!(matches!(result.unwrap().body, Body::Store { expires: 1, .. }));
                continue;
            }
            "rsp_unknown_cookie" | "unknown_field_15" => {
                result.unwrap_or_else(|error| panic!("{name}: {error}"));
                continue;
            }
            // What is wrong in a list is skipped.
            "rsp_contact_id_short" | "rsp_contact_addr_zero" => {
                let Body::FoundNode { contacts, .. } = result.unwrap().body else { panic!("{name}") };
                assert_eq!(contacts, [], "{name}");
                continue;
            }
            "value_rsp_empty_value" => {
                let Body::FoundValue { values, .. } = result.unwrap().body else { panic!("{name}") };
                assert_eq!(values, []);
                continue;
            }
            other => panic!("nobody knows what to expect of {other}"),
        };
        assert_eq!(result, expected, "{name}");
    }
}

/// The configuration of the directory inside the response that it comes in.
#[test]
fn configurations() {
    let peer_a = Address(0x1234_5678);
    for (entry, peer) in list("config", None).iter().zip([Address(0), peer_a, peer_a]) {
        let directory = Dht { peer, ..Dht::default() };
        let unicast = Unicast { directory, ..Unicast::default() };
        let config =
            LayerConfig { name: "x".parse().unwrap(), hash: HashAlg::Sha3_256, kind: LayerKind::Unicast(unicast) };
        let response = Response { id: [0; 8], seconds: 0, nanoseconds: 0, verdict: Verdict::Granted(config) };
        let (wire, part) = (response.encode().unwrap(), bytes(entry, "hex"));
        assert!(wire.windows(part.len()).any(|window| window == part), "{}", entry["name"]);
        assert_eq!(Response::decode(&wire), Ok(response));
    }
}
