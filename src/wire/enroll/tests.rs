use alloc::string::ToString;

use proptest::prelude::*;

use super::*;
use crate::types::id::Address;
use crate::types::layer::{CongestionAvoidance, Dht, LinkState, RoutePolicy, Unicast};
use crate::wire::dt::LayerSizes;
use crate::wire::testing::{flips, hex};

const ID: [u8; ID_LEN] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

fn unicast() -> Unicast {
    Unicast { directory: Dht { peer: Address(0x1234_5678), ..Dht::default() }, ..Unicast::default() }
}

fn granted(name: &str, kind: LayerKind) -> Response {
    let config = LayerConfig { name: name.parse().unwrap(), hash: HashAlg::Sha3_256, kind };
    Response { id: ID, seconds: 1_767_225_600, nanoseconds: 123_456_789, verdict: Verdict::Granted(config) }
}

fn check<M: PartialEq + fmt::Debug>(
    bytes: &str,
    expected: &M,
    decode: fn(&[u8]) -> Result<M, WireError>,
    encode: fn(&M) -> Result<Vec<u8>, WireError>,
) {
    let bytes = hex(bytes);
    assert_eq!(decode(&bytes).as_ref(), Ok(expected));
    assert_eq!(encode(expected).unwrap(), bytes);
    for have in 0..bytes.len() {
        let error = decode(&bytes[..have]).unwrap_err();
        assert!(matches!(error, WireError::Malformed { .. } | WireError::Missing { .. }), "{error}");
    }
    flips(&bytes, decode, |message| encode(message).unwrap());
}

const UNICAST: &str = "
    0a08 0123456789abcdef 1080f2d6ca06 18959aef3a 2000 2a41 0a07 0a034c414e 1001 1001 1a34
    0a14 0804 1008 183c 220c 0800 1208 0800 1004 180f 203c
    1218 0800 1214 0803 1008 1880a305 20840728840730f8acd19101 1800 2001";

#[test]
fn messages_of_the_reference() {
    check("0a080123456789abcdef", &Request { id: ID }, Request::decode, Request::encode);
    let layer = granted("LAN", LayerKind::Unicast(unicast()));
    check(UNICAST, &layer, Response::decode, Response::encode);
    let bytes = "0a080123456789abcdef 1080f2d6ca06 18959aef3a 2000 2a0d 0a09 0a056263617374 1001 1002";
    check(bytes, &granted("bcast", LayerKind::Broadcast), Response::decode, Response::encode);
    let bytes = "0a080123456789abcdef 1080f2d6ca06 18959aef3a 20ffffffffffffffffff01";
    let denied = Response { verdict: Verdict::Denied(-1), ..layer };
    check(bytes, &denied, Response::decode, Response::encode);
    check("0a080123456789abcdef 1000", &Ack { id: ID, result: 0 }, Ack::decode, Ack::encode);
    let bytes = "0a080123456789abcdef 10ffffffffffffffffff01";
    check(bytes, &Ack { id: ID, result: -1 }, Ack::decode, Ack::encode);
}

/// The response above with one byte, found by what is in front of it, changed.
fn changed(before: &str, to: u8) -> Result<Response, WireError> {
    let (mut bytes, before) = (hex(UNICAST), hex(before));
    let at = bytes.windows(before.len()).position(|window| window == before).unwrap() + before.len();
    bytes[at] = to;
    Response::decode(&bytes)
}

#[test]
fn unknown_policies_are_refused() {
    let unknown = |field, value| Err(WireError::Unknown { field, value });
    let invalid = |field| Err(WireError::Invalid { field });
    assert_eq!(changed("20002a410a070a034c414e10", 4), unknown("dir_hash_algo", 4));
    assert_eq!(changed("20002a410a070a034c414e10", 5), unknown("dir_hash_algo", 5));
    assert_eq!(changed("4c414e100110", 4), unknown("ipcp_type", 4));
    assert_eq!(changed("0a1408", 0), invalid("addr_size"));
    assert_eq!(changed("0a1408", 9), invalid("addr_size"));
    assert_eq!(changed("0a14080410", 9), invalid("eid_size"));
    assert_eq!(changed("0a140804100818", 0), invalid("max_ttl"));
    assert_eq!(changed("220c08", 1), unknown("routing policy", 1));
    assert_eq!(changed("220c0800120808", 3), unknown("link-state policy", 3));
    assert_eq!(changed("121808", 1), unknown("directory policy", 1));
    assert_eq!(changed("f8acd1910118", 1), unknown("addr_auth_type", 1));
    assert_eq!(changed("f8acd19101180020", 2), unknown("cong_avoid", 2));
    assert_eq!(changed("18959aef3a20", 1), unknown("response", 1));
    assert_eq!(changed("2a410a070a03", 0), invalid("name of the layer"));
    for (to, policy) in [(1, RoutePolicy::LoopFreeAlternates), (2, RoutePolicy::EqualCostMultipath)] {
        let routing = LinkState { policy, ..LinkState::default() };
        let expected = granted("LAN", LayerKind::Unicast(Unicast { routing, ..unicast() }));
        assert_eq!(changed("220c0800120808", to), Ok(expected));
    }
}

#[test]
fn invalid_configurations_are_not_encoded() {
    for (field, kind, hash) in [
        ("dir_hash_algo", LayerKind::Broadcast, HashAlg::Md5),
        ("addr_size", LayerKind::Unicast(Unicast { addr_size: 9, ..unicast() }), HashAlg::Sha3_256),
        ("eid_size", LayerKind::Unicast(Unicast { eid_size: 0, ..unicast() }), HashAlg::Sha3_256),
        ("max_ttl", LayerKind::Unicast(Unicast { max_ttl: 0, ..unicast() }), HashAlg::Sha3_256),
    ] {
        let config = LayerConfig { name: "x".parse().unwrap(), hash, kind };
        let response = Response { verdict: Verdict::Granted(config), ..granted("x", LayerKind::Broadcast) };
        assert_eq!(response.encode(), Err(WireError::Invalid { field }));
    }
}

#[test]
fn ids_have_eight_bytes() {
    for len in [0, 7, 9] {
        let mut bytes = vec![0x0a, len];
        bytes.extend(vec![1; len.into()]);
        let error = WireError::Length { field: "id", value: len.into() };
        assert_eq!(Request::decode(&bytes), Err(error));
        bytes.extend([0x10, 0]);
        assert_eq!(Ack::decode(&bytes), Err(error));
    }
}

#[test]
fn missing_configuration_and_unknown_fields() {
    let bytes = hex("0a080123456789abcdef 1080f2d6ca06 18959aef3a 2000");
    assert_eq!(Response::decode(&bytes), Err(WireError::Missing { field: "conf" }));
    let bytes = hex("0a080123456789abcdef 7a0161");
    assert_eq!(Request::decode(&bytes), Ok(Request { id: ID }));
    assert_eq!(Request::decode(&[0; 1024]), Err(WireError::Length { field: REQUEST, value: 1024 }));
    let wrong = Response { verdict: Verdict::Denied(0), ..granted("LAN", LayerKind::Broadcast) };
    assert_eq!(wrong.encode(), Err(WireError::Invalid { field: "response" }));
}

#[test]
fn eids_have_eight_bytes_whatever_is_configured() {
    let odd = Unicast { eid_size: 4, ..Unicast::default() };
    assert_eq!(LayerSizes::of(&odd), Ok(LayerSizes::default()));
    assert_eq!(LayerSizes::of(&Unicast::default()), Ok(LayerSizes::default()));
}

#[test]
fn display_of_messages() {
    assert_eq!(Request { id: ID }.to_string(), "enrollment request id 0123456789abcdef");
    let line = "enrollment response id 0123456789abcdef time 1767225600.123456789 granted: broadcast layer b, SHA3_256";
    assert_eq!(granted("b", LayerKind::Broadcast).to_string(), line);
    let denied = Response { verdict: Verdict::Denied(-1), ..granted("b", LayerKind::Broadcast) };
    assert!(denied.to_string().ends_with("denied: -1"));
    assert_eq!(Ack { id: ID, result: 0 }.to_string(), "enrollment acknowledgement id 0123456789abcdef result 0");
}

fn config() -> impl Strategy<Value = Unicast> {
    let policies = [RoutePolicy::Simple, RoutePolicy::LoopFreeAlternates, RoutePolicy::EqualCostMultipath];
    let sizes = (1..=8_u8, 1..=8_u8, 1..=255_u8, 0..3_usize, any::<bool>());
    (sizes, any::<[u32; 8]>(), any::<u64>()).prop_map(move |(sizes, times, peer)| {
        let (addr_size, eid_size, max_ttl, policy, ecn) = sizes;
        let [t_recalc, t_update, t_timeo, alpha, k, t_expire, t_refresh, t_replicate] = times;
        let congestion = if ecn { CongestionAvoidance::MbEcn } else { CongestionAvoidance::None };
        let routing = LinkState { policy: policies[policy], t_recalc, t_update, t_timeo };
        let directory = Dht { alpha, k, t_expire, t_refresh, t_replicate, peer: Address(peer) };
        Unicast { addr_size, eid_size, max_ttl, routing, directory, congestion }
    })
}

proptest! {
    #[test]
    fn any_response_round_trips(
        id: [u8; 8], seconds: i64, nanoseconds: i32, name in "[a-z]{1,255}", hash in 0..4_u8, kind in config(),
        denied in i32::MIN..0,
    ) {
        let hash = HashAlg::from_number(hash).unwrap();
        let config = LayerConfig { name: name.parse().unwrap(), hash, kind: LayerKind::Unicast(kind) };
        for verdict in [Verdict::Granted(config), Verdict::Denied(denied)] {
            let message = Response { id, seconds, nanoseconds, verdict };
            prop_assert_eq!(Response::decode(&message.encode().unwrap()), Ok(message));
        }
    }

    #[test]
    fn any_request_and_acknowledgement_round_trips(id: [u8; 8], result: i32) {
        prop_assert_eq!(Request::decode(&Request { id }.encode().unwrap()), Ok(Request { id }));
        prop_assert_eq!(Ack::decode(&Ack { id, result }.encode().unwrap()), Ok(Ack { id, result }));
    }

    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Request::decode(&bytes), Response::decode(&bytes), Ack::decode(&bytes));
    }
}
