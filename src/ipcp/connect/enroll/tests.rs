use alloc::vec;

use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use super::*;
use crate::types::layer::{Dht, LinkState, Unicast};
use crate::types::name::HashAlg;

const A: Address = Address(0x1234_5678);
/// 2026-01-01 00:00:00 UTC and a bit, in nanoseconds.
const UNIX: u64 = 1_767_225_600_123_456_789;
const START: Instant = Instant::from_millis(5_000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rng() -> Rng {
    Rng::from_seed([7; 32])
}

fn lan() -> LayerConfig {
    let name = "LAN".parse().unwrap();
    LayerConfig { name, hash: HashAlg::Sha3_256, kind: LayerKind::Unicast(Unicast::default()) }
}

fn bcast() -> LayerConfig {
    LayerConfig { name: "bcast".parse().unwrap(), hash: HashAlg::Sha3_256, kind: LayerKind::Broadcast }
}

fn layer<'a>(config: &'a LayerConfig, admission: &'a dyn Admission) -> Layer<'a> {
    Layer { config, address: A, admission }
}

fn with(change: impl FnOnce(&mut Unicast)) -> LayerConfig {
    let mut unicast = Unicast::default();
    change(&mut unicast);
    LayerConfig { kind: LayerKind::Unicast(unicast), ..lan() }
}

fn joiner(kind: Kind) -> (Joiner, Vec<u8>) {
    Joiner::start(START, kind, &mut rng())
}

/// Returns the answer of a member of `config` to the request.
fn respond(request: &[u8], config: &LayerConfig) -> (Member, Vec<u8>) {
    let mut member = Member::new(START);
    match member.handle_packet(START, UNIX, request, &layer(config, &AdmitAll)).unwrap() {
        Progress::Send(response) => (member, response),
        other => panic!("{other:?}"),
    }
}

fn dht(config: &LayerConfig) -> Dht {
    match &config.kind {
        LayerKind::Unicast(unicast) => unicast.directory,
        LayerKind::Broadcast => panic!("not unicast"),
    }
}

#[test]
fn a_joiner_becomes_a_member() {
    for config in [lan(), bcast()] {
        let (joiner, request) = joiner(Kind::of(&config));
        let (mut member, response) = respond(&request, &config);
        let granted = joiner.handle_packet(&response).unwrap().unwrap();
        assert_eq!((&granted.config.name, granted.config.hash), (&config.name, config.hash));
        assert_eq!(granted.adjusted, vec![]);
        if Kind::of(&config) == Kind::Unicast {
            assert_eq!(dht(&granted.config).peer, A, "the member is the first contact");
        }
        let ack = granted.ack(0);
        assert_eq!(member.handle_packet(START, UNIX, &ack, &layer(&config, &AdmitAll)), Ok(Progress::Joined));
    }
}

/// The exchange as the reference has it, with an id of 0123456789abcdef.
#[test]
fn messages_match_those_of_the_reference() {
    let id = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let request = [&[0x0a, 8][..], &id].concat();
    let (mut member, response) = respond(&request, &lan());
    assert_eq!(response.len(), 90);
    assert_eq!(response[..10], request);
    assert_eq!(response[10..23], *b"\x10\x80\xf2\xd6\xca\x06\x18\x95\x9a\xef\x3a\x20\x00");
    assert_eq!(response[78..86], *b"\x84\x07\x30\xf8\xac\xd1\x91\x01");

    let joiner = Joiner { kind: Kind::Unicast, id, sent_at: START };
    let granted = joiner.handle_packet(&response).unwrap().unwrap();
    assert_eq!(granted.ack(0), [&request[..], &[0x10, 0]].concat());
    let failed = granted.ack(-1);
    assert_eq!(failed.len(), 21);
    assert_eq!(member.handle_packet(START, UNIX, &failed, &layer(&lan(), &AdmitAll)), Err(EnrollError::Failed(-1)));

    let (_, response) = respond(&request, &bcast());
    assert_eq!(response[23..], *b"\x2a\x0d\x0a\x09\x0a\x05bcast\x10\x01\x10\x02");
    let denial = [&response[..21], b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"].concat();
    assert_eq!(joiner.handle_packet(&denial), Err(EnrollError::Denied(-1)));
}

#[test]
fn admission_policy_refuses_a_joiner() {
    let only_zeros = |applicant: &Applicant| if applicant.id == [0; 8] { Ok(()) } else { Err(-7) };
    let (joiner, request) = joiner(Kind::Unicast);
    let mut member = Member::new(START);
    let Ok(Progress::Deny(denial)) = member.handle_packet(START, UNIX, &request, &layer(&lan(), &only_zeros)) else {
        panic!("not denied");
    };
    let error = joiner.handle_packet(&denial).unwrap_err();
    assert_eq!(error, EnrollError::Denied(-7));
    assert!(error.is_final());
    // Whatever number a policy says, a denial is negative.
    for why in [0, 5, i32::MAX] {
        let Ok(Progress::Deny(denial)) =
            Member::new(START).handle_packet(START, UNIX, &request, &layer(&lan(), &move |_: &Applicant| Err(why)))
        else {
            panic!("not denied");
        };
        assert_eq!(joiner.handle_packet(&denial), Err(EnrollError::Denied(-1)));
    }
}

#[test]
fn several_joiners_enroll_at_once() {
    let mut rng = rng();
    let config = lan();
    let mut all: Vec<_> = (0..8)
        .map(|_| {
            let (joiner, request) = Joiner::start(START, Kind::Unicast, &mut rng);
            let (member, response) = respond(&request, &config);
            (joiner, member, response)
        })
        .collect();
    let others = all[0].2.clone();
    assert_eq!(all[1].0.handle_packet(&others), Ok(None), "the response to another joiner");
    for (joiner, member, response) in all.iter_mut().rev() {
        let ack = joiner.handle_packet(response).unwrap().unwrap().ack(0);
        assert_eq!(member.handle_packet(START, UNIX, &ack, &layer(&config, &AdmitAll)), Ok(Progress::Joined));
    }
}

#[test]
fn both_sides_have_deadlines() {
    let (joiner, request) = joiner(Kind::Unicast);
    assert_eq!(joiner.deadline(), START + ms(1000));
    let mut member = Member::new(START);
    assert_eq!(member.deadline(), START + ms(1000));
    let later = START + ms(900);
    member.handle_packet(later, UNIX, &request, &layer(&lan(), &AdmitAll)).unwrap();
    assert_eq!(member.deadline(), later + ACK_TIMEOUT);
}

#[test]
fn repetitions_and_noise_are_skipped() {
    let config = lan();
    let cep = crate::wire::cep::Message::enrollment().encode().unwrap();
    let (joiner, request) = joiner(Kind::Unicast);
    let mut member = Member::new(START);
    let layer = layer(&config, &AdmitAll);
    for noise in [&cep[..], b"", &[0xff; 1500]] {
        assert_eq!(member.handle_packet(START, UNIX, noise, &layer), Ok(Progress::Wait));
        assert_eq!(joiner.handle_packet(noise), Ok(None));
    }
    let Ok(Progress::Send(response)) = member.handle_packet(START, UNIX, &request, &layer) else {
        panic!("no response")
    };
    let granted = joiner.handle_packet(&response).unwrap().unwrap();
    let other_ack = Ack { id: [9; 8], result: 0 }.encode().unwrap();
    for noise in [&request[..], &cep, &other_ack, b""] {
        assert_eq!(member.handle_packet(START, UNIX, noise, &layer), Ok(Progress::Wait));
    }
    assert_eq!(member.handle_packet(START, UNIX, &granted.ack(0), &layer), Ok(Progress::Joined));
}

#[test]
fn a_layer_of_the_other_kind_is_not_joined() {
    let (joiner, request) = joiner(Kind::Unicast);
    let (_, response) = respond(&request, &bcast());
    let error = joiner.handle_packet(&response).unwrap_err();
    let expected = ConfigError::Kind { own: Kind::Unicast, theirs: Kind::Broadcast };
    assert_eq!(error, EnrollError::Config(expected));
    assert!(error.is_final());
}

#[test]
fn incomplete_responses_fail_only_their_joiner() {
    let (joiner, request) = joiner(Kind::Unicast);
    let bare = [&request[..], b"\x10\x01\x18\x00\x20\x00"].concat();
    assert_eq!(joiner.handle_packet(&bare), Err(EnrollError::Wire(WireError::Missing { field: "conf" })));
    assert!(!EnrollError::Wire(WireError::Missing { field: "conf" }).is_final());
    let mut other = bare;
    other[5] ^= 1;
    assert_eq!(joiner.handle_packet(&other), Ok(None));
}

#[test]
fn invalid_clocks_are_ignored() {
    let (joiner, _) = joiner(Kind::Broadcast);
    for (seconds, nanoseconds) in [(0, -1), (0, i32::MAX), (i64::MAX, 0), (i64::MIN, 0)] {
        let verdict = Verdict::Granted(bcast());
        let response = Response { id: joiner.id, seconds, nanoseconds, verdict }.encode().unwrap();
        assert_eq!(joiner.handle_packet(&response).unwrap().unwrap().config, bcast());
    }
}

#[test]
fn harmful_values_are_adjusted() {
    let harmful = with(|unicast| {
        unicast.routing = LinkState { t_recalc: 0, t_update: 0, t_timeo: 1, ..LinkState::default() };
        unicast.directory =
            Dht { alpha: 0, k: 1_000_000, t_expire: 0, t_refresh: 0, t_replicate: u32::MAX, ..Dht::default() };
    });
    let (config, adjusted) = check(harmful, Kind::Unicast).unwrap();
    let LayerKind::Unicast(Unicast { routing, directory, .. }) = config.kind else { panic!("not unicast") };
    assert_eq!((routing.t_recalc, routing.t_update, routing.t_timeo), (1, 1, 2));
    let Dht { alpha, k, t_expire, t_refresh, t_replicate, .. } = directory;
    assert_eq!((alpha, k, t_expire, t_refresh, t_replicate), (1, 20, 10, 3, 3_600));
    assert_eq!(adjusted.len(), 8);
    assert_eq!(adjusted[2], Adjustment { field: "ls_t_timeo", given: 1, used: 2 });
    // What is in range stays as it is, and so do the defaults of the reference.
    assert_eq!(check(lan(), Kind::Unicast), Ok((lan(), vec![])));
}

#[test]
fn unusable_configurations_are_refused() {
    let wide = with(|unicast| unicast.addr_size = 8);
    assert_eq!(check(wide, Kind::Unicast), Err(ConfigError::AddressSize(8)));
    let peer = with(|unicast| unicast.directory.peer = Address(1 << 40));
    assert_eq!(check(peer, Kind::Unicast), Err(ConfigError::Peer(Address(1 << 40))));
}

proptest! {
    #[test]
    fn arbitrary_packets_are_safe(noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let config = lan();
        let (joiner, _) = joiner(Kind::Unicast);
        let mut member = Member::new(START);
        for packet in &noise {
            let _ = joiner.handle_packet(packet);
            let _ = member.handle_packet(START, UNIX, packet, &layer(&config, &AdmitAll));
        }
    }

    /// A response with one bit turned over is skipped, refused, or says something that is fit for use.
    #[test]
    fn damaged_responses_do_no_harm(bit in 0..8 * 90usize) {
        let (joiner, request) = joiner(Kind::Unicast);
        let (_, mut response) = respond(&request, &lan());
        response[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Some(granted)) = joiner.handle_packet(&response) {
            prop_assert_eq!(check(granted.config.clone(), Kind::Unicast), Ok((granted.config, vec![])));
        }
    }

    #[test]
    fn adjusted_values_are_in_range(
        t_recalc: u32, t_update: u32, t_timeo: u32, alpha: u32, k: u32, t_expire: u32, t_refresh: u32, t_replicate: u32,
    ) {
        let config = with(|unicast| {
            unicast.routing = LinkState { t_recalc, t_update, t_timeo, ..LinkState::default() };
            unicast.directory = Dht { alpha, k, t_expire, t_refresh, t_replicate, peer: A };
        });
        let (checked, _) = check(config, Kind::Unicast).unwrap();
        prop_assert_eq!(check(checked.clone(), Kind::Unicast), Ok((checked, vec![])));
    }
}
