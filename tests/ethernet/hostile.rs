//! Bad input: frames that are none of ours, forged ones, storms and floods. Nothing is disturbed, everything counted, and
//! nothing amplified.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use o7s::base::buf::{BufCache, BufPool};
use o7s::base::rng::Rng;
use o7s::device::{Frames, Mac};
use o7s::sim::{Link, Verdict};
use o7s::types::name::{HashAlg, NameHash};
use o7s::wire::eth::{FlowReply, FlowRequest, Format, Frame, Mgmt};
use o7s::{AllocError, QosSpec};

use super::framings;
use super::simulated::{CLIENT, Pair, SERVER};
use super::station::{Station, data, hash, mgmt, now_or_never};
use super::world::{ms, secs};

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const FORMATS: [Format; 2] = [Format::Dix, Format::Llc];

/// A frame of some type or length, from the peer to us.
fn typed(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&OURS.0, &PEER.0, &kind.to_be_bytes()[..], payload].concat()
}

/// A station with a registered name for each format.
fn stations() -> [(Format, Station); 2] {
    let [dix, llc] = framings();
    [(Format::Dix, dix), (Format::Llc, llc)].map(|(format, config)| {
        let station = Station::new(OURS, &config);
        station.layer.register("echo").unwrap();
        (format, station)
    })
}

#[test]
fn frames_of_other_protocols_are_counted_and_get_no_answer() {
    for (format, mut station) in stations() {
        let query = mgmt(format, PEER, Mac::BROADCAST, &Mgmt::Query(hash("echo")));
        let mut tagged = query.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        let mut twice = tagged.clone();
        twice.splice(12..12, [0x88, 0xa8, 0x00, 0x05]);
        let other_format = FORMATS.into_iter().find(|other| *other != format).unwrap();
        let foreign = [
            typed(0x0800, &[0x45; 46]),
            typed(0x86dd, &[0x60; 1500]),
            typed(0x0806, &[0; 46]),
            typed(0x88cc, &[0; 46]),
            typed(0x8808, &[0; 46]),
            typed(0x8870, &[0x80; 100]),
            typed(0x9000, &[0; 46]),
            typed(0xa001, &[0; 46]),
            typed(0xffff, &[0; 46]),
            // Spanning tree, IP over LLC, SNAP, IPX without LLC.
            typed(38, &[&[0x42, 0x42, 0x03][..], &[0; 43]].concat()),
            typed(46, &[&[0x06, 0x06, 0x03][..], &[0; 43]].concat()),
            typed(46, &[&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00][..], &[0; 38]].concat()),
            typed(46, &[0xff; 46]),
            // The right SAPs, but not unnumbered information.
            typed(46, &[&[0x80, 0x80, 0xbf][..], &[0; 43]].concat()),
            mgmt(other_format, PEER, OURS, &Mgmt::Query(hash("echo"))),
        ];
        let n = foreign.len() as u64;
        for frame in &foreign {
            station.inject(frame);
        }
        assert_eq!(station.sent(), [[0_u8; 0]; 0], "{format:?}");
        assert_eq!(station.counter("foreign"), n, "{format:?}\n{}", station.layer.rib());
        station.inject(&tagged);
        station.inject(&twice);
        assert!(station.sent().is_empty());
        assert_eq!(station.counter("tagged"), 2);
        assert_eq!((station.dropped(), station.counter("received")), (n + 2, n + 2));
        // And it does answer.
        station.inject(&query);
        assert_eq!(station.sent(), [mgmt(format, OURS, PEER, &Mgmt::Answer(hash("echo")))]);
    }
}

#[test]
fn runts_and_frames_of_wrong_lengths_are_malformed() {
    for (format, mut station) in stations() {
        let query = mgmt(format, PEER, Mac::BROADCAST, &Mgmt::Query(hash("echo")));
        for len in 0..query.len() {
            station.inject(&query[..len]);
        }
        let runts = query.len() as u64;
        assert!(station.sent().is_empty());
        assert_eq!(station.counter("malformed"), runts, "{format:?}\n{}", station.layer.rib());
        // The length field says less than the message needs, down to nothing.
        let field = if format == Format::Dix { 16..18 } else { 12..14 };
        let (whole, fixed) = (query.len() - format.header_len(), if format == Format::Dix { 0 } else { 3 });
        for len in 0..whole + fixed {
            let mut short = query.clone();
            short[field.clone()].copy_from_slice(&(len as u16).to_be_bytes());
            station.inject(&short);
        }
        assert!(station.sent().is_empty());
        let shorts = (whole + fixed) as u64;
        assert_eq!(station.counter("malformed"), runts + shorts, "{format:?}\n{}", station.layer.rib());
        // Padding of any length and content does not matter.
        for padding in [0, 1, 7, 46, 1000, 60_000] {
            let padded = [&query[..], &vec![0xee; padding]].concat();
            station.inject(&padded);
        }
        assert_eq!(station.sent().len(), 6, "{format:?}");
    }
}

#[test]
fn frames_larger_than_the_mtu_are_taken_whole_or_not_at_all() {
    for (format, mut station) in stations() {
        let most = if format == Format::Dix { 65_000 } else { 1532 };
        for len in [1497, 1532, 9000, 65_000].into_iter().filter(|len| *len <= most) {
            station.inject(&data(format, PEER, OURS, (7, 9), &vec![1; len]));
            let message = Mgmt::Request(FlowRequest { s_eid: 9, qos: QosSpec::RAW, dst: hash("echo"), data: &[] });
            let mut request = message.to_vec(format).unwrap();
            request.resize(len, 0xaa);
            let port = super::station::management(format);
            station.inject(&Frame { dst: OURS, src: PEER, port, payload: &request }.to_vec().unwrap());
        }
        let replies = station.sent();
        assert!(station.counter("unknown_eid") > 0 && station.counter("requests_in") > 0);
        assert_eq!(station.counter("malformed"), 0);
        let sizes: usize = replies.iter().map(Vec::len).sum();
        assert!(sizes <= replies.len() * 60, "refusals of requests without a sound header, {sizes} bytes");
    }
}

#[test]
fn frames_for_others_and_from_ourselves_are_dropped() {
    for (format, mut station) in stations() {
        let query = |src, dst| mgmt(format, src, dst, &Mgmt::Query(hash("echo")));
        station.inject(&query(PEER, Mac([2, 0, 0, 0, 0, 9])));
        station.inject(&query(PEER, Mac([1, 0x80, 0xc2, 0, 0, 0])));
        station.inject(&query(OURS, Mac::BROADCAST));
        station.inject(&query(Mac([3, 0, 0, 0, 0, 2]), Mac::BROADCAST));
        station.inject(&query(Mac::BROADCAST, Mac::BROADCAST));
        assert!(station.sent().is_empty());
        let counted = ["not_ours", "own_address", "malformed"].map(|name| station.counter(name));
        assert_eq!(counted, [2, 1, 2], "{format:?}");
    }
}

/// One frame to everybody never has an answer from everybody, but for a query from those who have the name.
#[test]
fn nothing_but_queries_is_accepted_from_the_broadcast_address() {
    for (format, mut station) in stations() {
        let request = FlowRequest { s_eid: 9, qos: QosSpec::RAW, dst: hash("nobody"), data: &[1; 40] };
        let reply = FlowReply { s_eid: 9, d_eid: 9, response: 0, data: &[] };
        for message in [Mgmt::Request(request), Mgmt::Reply(reply), Mgmt::Answer(hash("echo"))] {
            station.inject(&mgmt(format, PEER, Mac::BROADCAST, &message));
        }
        station.inject(&data(format, PEER, Mac::BROADCAST, (9, 9), b"everybody"));
        assert!(station.sent().is_empty());
        assert_eq!((station.counter("malformed"), station.counter("refused")), (4, 0), "{format:?}");
        station.inject(&mgmt(format, PEER, OURS, &Mgmt::Request(request)));
        assert_eq!(station.sent().len(), 1, "to us alone it is answered");
    }
}

#[test]
fn requests_from_impossible_numbers_are_malformed() {
    for (format, mut station) in stations() {
        let impossible: &[u16] = if format == Format::Dix { &[0] } else { &[0, 1, 64, 255] };
        for s_eid in impossible {
            let request = FlowRequest { s_eid: *s_eid, qos: QosSpec::RAW, dst: hash("echo"), data: &[1; 40] };
            station.inject(&mgmt(format, PEER, OURS, &Mgmt::Request(request)));
        }
        assert!(station.sent().is_empty(), "{format:?}");
        assert_eq!(station.counter("malformed"), impossible.len() as u64);
    }
}

#[test]
fn a_flood_of_queries_is_answered_at_a_bounded_rate() {
    for (format, mut station) in stations() {
        let query = |src, name: NameHash| mgmt(format, src, Mac::BROADCAST, &Mgmt::Query(name));
        // For names that are not there: nothing at all.
        let mut rng = Rng::from_seed([4; 32]);
        for _ in 0..100_000 {
            let mut name = [0; 32];
            rng.fill(&mut name);
            station.inject(&query(PEER, NameHash::new(&name).unwrap()));
        }
        assert!(station.sent().is_empty());
        // For one that is, from one station.
        for _ in 0..100_000 {
            station.inject(&query(PEER, hash("echo")));
        }
        // As many as a bucket holds, and the one that overdraws it.
        assert_eq!(station.sent().len(), 51);
        // From others that do not exist.
        let mut answers = 0;
        for i in 0..100_000_u32 {
            let [a, b, c, d] = i.to_be_bytes();
            station.inject(&query(Mac([2, 1, a, b, c, d]), hash("echo")));
            if i % 1000 == 0 {
                answers += station.sent().len();
            }
        }
        answers += station.sent().len();
        assert!(answers <= 64 * 51, "{answers}");
        assert_eq!(station.counter("queries_in"), 300_000);
        assert_eq!(station.counter("answers_limited"), 200_000 - 51 - answers as u64);
        station.pass(secs(1));
        station.inject(&query(PEER, hash("echo")));
        assert_eq!(station.sent().len(), 1, "a moment later there are answers again");
    }
}

#[test]
fn answers_that_nobody_waits_for_are_not_believed() {
    for (format, mut station) in stations() {
        station.inject(&mgmt(format, PEER, OURS, &Mgmt::Answer(hash("service"))));
        assert!(station.sent().is_empty());
        assert_eq!((station.counter("answers_unexpected"), station.counter("directory")), (1, 0));
        let flow = station.stack.flow("service").timeout(secs(5));
        let mut allocating: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(flow.alloc_async());
        assert!(now_or_never(&mut allocating).is_none());
        assert_eq!(station.sent(), [mgmt(format, OURS, Mac::BROADCAST, &Mgmt::Query(hash("service")))]);
        station.inject(&mgmt(format, PEER, OURS, &Mgmt::Answer(hash("other"))));
        assert!(station.sent().is_empty(), "another name is another matter");
        station.inject(&mgmt(format, PEER, OURS, &Mgmt::Answer(hash("service"))));
        station.poll();
        assert!(now_or_never(&mut allocating).is_none());
        let [request] = &station.sent()[..] else { panic!("one request") };
        assert_eq!(request[..6], PEER.0, "it is asked for where it is");
    }
}

/// Two stations, and somebody between them who passes frames on.
fn exchange(a: &mut Station, b: &mut Station) {
    loop {
        let (from_a, from_b) = (a.sent(), b.sent());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        from_a.iter().for_each(|frame| b.inject(frame));
        from_b.iter().for_each(|frame| a.inject(frame));
    }
}

#[test]
fn a_storm_of_a_million_frames_disturbs_nothing() {
    for (format, config) in FORMATS.into_iter().zip(framings()) {
        let (mut client, mut server) = (Station::new(OURS, &config), Station::new(PEER, &config));
        server.layer.register("echo").unwrap();
        let listener = server.stack.bind("echo").unwrap();
        let mut accepting: std::pin::Pin<Box<dyn Future<Output = _>>> =
            Box::pin(async move { listener.accept_async().await });
        assert!(now_or_never(&mut accepting).is_none());
        let flow = client.stack.flow("echo").qos(QosSpec::DATA).timeout(secs(5));
        let mut allocating: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(flow.alloc_async());
        let (mut near, mut far) = (None, None);
        while near.is_none() || far.is_none() {
            near = near.or_else(|| now_or_never(&mut allocating));
            far = far.or_else(|| now_or_never(&mut accepting));
            exchange(&mut client, &mut server);
            client.pass(ms(1));
            server.pass(ms(1));
        }
        let (near, far) = (near.unwrap().unwrap().into_blocking(), far.unwrap().unwrap().into_blocking());
        let stranger = Mac([2, 0, 0, 0, 0, 0x66]);
        let request = FlowRequest { s_eid: 9, qos: QosSpec::RAW, dst: hash("echo"), data: &[1; 40] };
        let storm = [
            mgmt(format, stranger, Mac::BROADCAST, &Mgmt::Query(hash("nobody"))),
            mgmt(format, stranger, Mac::BROADCAST, &Mgmt::Request(request)),
            data(format, stranger, Mac::BROADCAST, (9, 9), &[0; 1400]),
            [&Mac::BROADCAST.0, &stranger.0, &[8, 6][..], &[0; 46]].concat(),
            mgmt(format, stranger, PEER, &Mgmt::Answer(hash("echo"))),
            data(format, stranger, PEER, (9, 9), &[0; 64]),
        ];
        let (per_turn, mut extra) = (1000, 0);
        for turn in 0..1_000_000 / per_turn {
            for frame in storm.iter().cycle().skip(turn).take(per_turn) {
                server.inject(frame);
            }
            if turn % 50 == 0 {
                near.write(&turn.to_be_bytes()).unwrap();
                exchange(&mut client, &mut server);
                let mut buf = [0; 64];
                assert_eq!(far.try_read(&mut buf), Ok(8), "turn {turn}");
                assert_eq!(buf[..8], turn.to_be_bytes());
                client.pass(ms(20));
                server.pass(ms(20));
                exchange(&mut client, &mut server);
            } else {
                extra += server.sent().len();
            }
        }
        assert_eq!(extra, 0, "nothing is said to a storm, {format:?}");
        assert!(server.counter("received") >= 1_000_000);
        // But for queries, which were heard.
        let (queries, dropped) = (server.counter("queries_in"), server.dropped());
        assert!((999_999..=1_000_001).contains(&(queries + dropped)), "{queries} {dropped}\n{}", server.layer.rib());
        assert_eq!(server.stack.rib().get("node/flows"), Some(1));
    }
}

/// A made-up sender's address gets no more bytes than were sent in its name.
#[test]
fn victims_of_forged_senders_get_no_amplification() {
    for (format, mut station) in stations() {
        let mut rng = Rng::from_seed([5; 32]);
        let mut most = 0;
        for i in 0..20_000_u32 {
            let mut header = vec![0; 36 + rng.below(200) as usize];
            rng.fill(&mut header);
            let name = if i % 2 == 0 { "echo" } else { "nobody" };
            let s_eid = 2 + (i % 60) as u16;
            let request = FlowRequest { s_eid, qos: QosSpec::RAW, dst: hash(name), data: &header };
            let frame = mgmt(format, Mac([2, 2, 0, 0, (i >> 8) as u8, i as u8]), OURS, &Mgmt::Request(request));
            station.inject(&frame);
            let sent: usize = station.sent().iter().map(Vec::len).sum();
            assert!(sent <= frame.len(), "{sent} bytes for {}", frame.len());
            most = most.max(sent);
        }
        station.pass(secs(30));
        let late: usize = station.sent().iter().map(Vec::len).sum();
        assert_eq!(late, 0, "{format:?}: whoever is refused is refused once");
        assert!(most > 0 && station.counter("refused") > 0, "{}", station.layer.rib());
        assert_eq!(station.counter("flows"), 0);
        assert_eq!(station.stack.rib().get("node/flows"), Some(0));
    }
}

#[test]
fn only_the_stations_of_a_flow_have_a_say_in_it() {
    for (format, config) in FORMATS.into_iter().zip(framings()) {
        let pair = Pair::new(1, Link::default().latency(ms(1)), &config, "");
        let attacker = pair.switch.plug("02:00:00:00:00:66");
        let evil = attacker.mac();
        let seen: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        let sniffer = Rc::clone(&seen);
        pair.net
            .on_packet(move |packet| {
                sniffer.borrow_mut().push(packet.data.to_vec());
                Verdict::Pass
            })
            .keep();
        let (client, server): (Mac, Mac) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
        pair.net.block_on(async {
            let (near, far) = pair.connect(QosSpec::RAW).await;
            let reply = seen.borrow().iter().find_map(|bytes| {
                let frame = Frame::parse(bytes).unwrap();
                let message = Mgmt::parse(format, HashAlg::Sha3_256, frame.payload);
                match message {
                    Ok(Mgmt::Reply(m)) if frame.port.is_mgmt() => Some((m.d_eid, m.s_eid)),
                    _ => None,
                }
            });
            let (of_client, of_server) = reply.expect("a reply was seen");
            // The right number from the wrong station; the right station with the wrong number of its own.
            attacker.send(&data(format, evil, client, (of_server, of_client), b"forged")).unwrap();
            attacker.send(&data(format, evil, server, (of_client, of_server), b"forged")).unwrap();
            if format == Format::Llc {
                let wrong = if of_server == 2 { 3 } else { 2 };
                attacker.send(&data(format, server, client, (wrong, of_client), b"forged")).unwrap();
            }
            // Replies to an open flow, from anybody: to take it over, or to end it.
            for (src, response) in [(evil, 0), (evil, -1009), (server, 0), (server, -1009)] {
                let reply = FlowReply { s_eid: 9, d_eid: of_client, response, data: &[] };
                attacker.send(&mgmt(format, src, client, &Mgmt::Reply(reply))).unwrap();
            }
            pair.net.sleep(ms(100)).await;
            assert_eq!(near.as_blocking().try_read(&mut [0; 64]), Err(o7s::ReadError::WouldBlock));
            // The switch has learned that the server is where the attacker is.
            far.write(b"here").await.unwrap();
            assert_eq!(near.read_bytes().await.unwrap()[..], b"here"[..]);
            near.write(b"there").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap()[..], b"there"[..]);
        });
        assert_eq!(pair.counter(&pair.client, "replies_unexpected"), 4, "{format:?}");
        let wrong = pair.counter(&pair.client, "wrong_source") + pair.counter(&pair.server, "wrong_source");
        assert_eq!(wrong, if format == Format::Llc { 3 } else { 2 }, "{format:?}");
    }
}

#[test]
fn a_reply_from_another_station_than_the_one_asked_does_not_count() {
    for (format, config) in FORMATS.into_iter().zip(framings()) {
        let mut station = Station::new(OURS, &config);
        let flow = station.stack.flow("service").timeout(ms(1500));
        let mut allocating: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(flow.alloc_async());
        assert!(now_or_never(&mut allocating).is_none());
        station.sent();
        station.inject(&mgmt(format, PEER, OURS, &Mgmt::Answer(hash("service"))));
        station.poll();
        assert!(now_or_never(&mut allocating).is_none());
        let [request] = &station.sent()[..] else { panic!("one request") };
        let frame = Frame::parse(request).unwrap();
        let Ok(Mgmt::Request(m)) = Mgmt::parse(format, HashAlg::Sha3_256, frame.payload) else { panic!("{frame}") };
        let refusal = Mgmt::Reply(FlowReply { s_eid: 9, d_eid: m.s_eid, response: -1003, data: &[] });
        station.inject(&mgmt(format, Mac([2, 0, 0, 0, 0, 3]), OURS, &refusal));
        station.pass(ms(100));
        assert!(now_or_never(&mut allocating).is_none(), "it goes on waiting");
        assert_eq!(station.counter("replies_unexpected"), 1);
        station.inject(&mgmt(format, PEER, OURS, &refusal));
        station.poll();
        let refused = now_or_never(&mut allocating);
        assert!(matches!(refused, Some(Err(AllocError::Refused { .. }))), "{refused:?}");
        assert_eq!(station.counter("flows"), 0);
    }
}

#[test]
fn answers_from_made_up_addresses_do_not_hide_the_true_one() {
    for (format, config) in FORMATS.into_iter().zip(framings()) {
        let pair = Pair::new(9, Link::default().latency(ms(1)), &config, "");
        let liar = pair.switch.plug("02:00:00:00:00:66");
        let net = pair.net.clone();
        pair.net.spawn(async move {
            let (mut frames, mut cache) = (Vec::new(), BufCache::new(&BufPool::new(8)));
            loop {
                liar.recv(&mut frames, &mut cache);
                for frame in frames.drain(..) {
                    let Ok(frame) = Frame::parse(&frame) else { continue };
                    let Ok(Mgmt::Query(name)) = Mgmt::parse(format, HashAlg::Sha3_256, frame.payload) else { continue };
                    for n in 0..4 {
                        let from = Mac([2, 0, 0, 0, 1, n]);
                        liar.send(&mgmt(format, from, frame.src, &Mgmt::Answer(name))).unwrap();
                    }
                }
                net.sleep(Duration::from_micros(100)).await;
            }
        });
        pair.net.block_on(async {
            let stack = pair.client.stack().clone();
            let near = async move { stack.flow("service").qos(QosSpec::DATA).timeout(secs(10)).alloc_async().await };
            let near = pair.net.spawn(near);
            let far = pair
                .net
                .timeout(secs(20), pair.listener.accept_async())
                .await
                .expect("nobody asked the true one")
                .unwrap();
            let near = near.await.unwrap();
            near.write(b"found").await.unwrap();
            assert_eq!(far.read_bytes().await.unwrap(), &b"found"[..]);
        });
    }
}
