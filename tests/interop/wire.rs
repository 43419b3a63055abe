//! The packets that really passed between the hosts: a tap on the far host's interface, so that a lost reply can be told from one
//! that was never sent.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use o7s::types::layer::Unicast;
use o7s::types::name::HashAlg;
use o7s::wire::dht::{Body, Message};
use o7s::wire::dt::{DIRECTORY, LayerSizes, Pci};
use o7s::wire::udp::Mgmt;
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::{FAR, FAR6, Host, MARK, NEAR, NEAR6, Service, wait_for};

/// The test that is not one: it runs in the far host and prints a line a datagram.
pub(crate) const HELPER: &str = "wire_tap";
/// Tells the helper that it is wanted.
pub(crate) const SWITCH: &str = "O7S_INTEROP_TAP";

const ETHERNET: usize = 14;
const ALL_PROTOCOLS: u16 = 3;
/// oping and ocbr fill the tail of their packets with zeros: that many in a row mean that it is readable.
const READABLE: usize = 24;
/// Where a message of OAP, request or response, has the size of its certificate.
const CERTIFICATE_SIZE: std::ops::Range<usize> = 30..32;

/// Prints every UDP datagram of port `port` until it is killed.
pub(crate) fn tap(port: u16) -> io::Result<()> {
    let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
    let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.set_recv_buffer_size(8 << 20)?;
    let mut out = io::stdout();
    writeln!(out, "{MARK} open")?;
    let mut frame = [0_u8; 65536];
    loop {
        let len = socket.read(&mut frame)?;
        if let Some(line) = frame.get(ETHERNET..len).and_then(|packet| describe(packet, port)) {
            writeln!(out, "{MARK} {line}")?;
        }
    }
}

fn describe(packet: &[u8], port: u16) -> Option<String> {
    let (way, udp) = if packet.first()? >> 4 == 6 { over_ipv6(packet)? } else { over_ipv4(packet)? };
    let word = |at: usize| Some(u16::from_be_bytes(<[u8; 2]>::try_from(udp.get(at..at + 2)?).ok()?));
    if word(0)? != port && word(2)? != port {
        return None;
    }
    let data = udp.get(8..usize::from(word(4)?))?;
    let eid = u32::from_be_bytes(<[u8; 4]>::try_from(data.get(..4)?).ok()?);
    if eid == 0 {
        let code = data.get(44)?;
        let response = i32::from_be_bytes(<[u8; 4]>::try_from(data.get(12..16)?).ok()?);
        return Some(format!("{way} m {code} {response} {}", certificate(data).unwrap_or(0)));
    }
    if let Some(told) = directory(data) {
        return Some(format!("{way} {told}"));
    }
    let readable = data.windows(READABLE).any(|window| window.iter().all(|byte| *byte == 0));
    Some(format!("{way} d {} {}", data.len(), u8::from(readable)))
}

/// The size of the certificate in a flow request or a reply.
fn certificate(datagram: &[u8]) -> Option<u16> {
    let message = match Mgmt::parse(datagram).ok()? {
        Mgmt::Request(request) => request.data,
        Mgmt::Reply(reply) => reply.data,
    };
    Some(u16::from_be_bytes(<[u8; 2]>::try_from(message.get(CERTIFICATE_SIZE)?).ok()?))
}

/// Which way a datagram goes, from its UDP header on.
fn over_ipv4(packet: &[u8]) -> Option<(char, &[u8])> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    if packet.first()? >> 4 != 4 || *packet.get(9)? != 17 {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let way = match (address(12)?, address(16)?) {
        (NEAR, FAR) => '>',
        (FAR, NEAR) => '<',
        _ => return None,
    };
    Some((way, packet.get(header..)?))
}

fn over_ipv6(packet: &[u8]) -> Option<(char, &[u8])> {
    if *packet.get(6)? != 17 {
        return None;
    }
    let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
    let way = match (address(8)?, address(24)?) {
        (NEAR6, FAR6) => '>',
        (FAR6, NEAR6) => '<',
        _ => return None,
    };
    Some((way, packet.get(40..)?))
}

/// What a packet of the directory of a unicast layer says, if it is one.
fn directory(data: &[u8]) -> Option<String> {
    let sizes = LayerSizes::of(&Unicast::default()).ok()?;
    let (pci, message) = Pci::parse(sizes, data.get(4..)?).ok()?;
    if pci.eid != DIRECTORY {
        return None;
    }
    let (message, extension) = Message::decode_extended(HashAlg::default(), message).ok()?;
    let (kind, cookie) = match message.body {
        Body::FindNode { cookie, .. } | Body::FindValue { cookie, .. } => ("ask", cookie),
        Body::FoundNode { cookie, .. } | Body::FoundValue { cookie, .. } => ("answer", cookie),
        Body::Store { .. } => ("store", 0),
    };
    let extended = extension.token.is_some() || extension.padding > 0;
    Some(format!("{kind} {cookie} {}", u8::from(extended)))
}

/// A running tap.
pub(crate) struct Tap(Service);

impl Tap {
    pub(crate) fn start(host: &Host, port: u16) -> io::Result<Self> {
        let exe = std::env::current_exe()?;
        let exe = exe.to_string_lossy();
        let switch = format!("{SWITCH}={port}");
        let service =
            host.spawn(&["env", &switch, &exe, "--ignored", "--exact", HELPER, "--nocapture", "--test-threads=1"])?;
        let open = format!("{MARK} open");
        wait_for(std::time::Duration::from_secs(10), || service.output().contains(&open).then_some(()))
            .ok_or_else(|| io::Error::other(format!("no tap: {}", service.output())))?;
        Ok(Self(service))
    }

    /// A tap that runs already and writes the same lines.
    pub(crate) fn of(service: Service) -> Self {
        Self(service)
    }

    /// All that it has written.
    pub(crate) fn output(&self) -> String {
        self.0.output()
    }

    /// What ours has said to the other's directory and what came back. `way` is where ours sends to.
    pub(crate) fn directory(&self, way: char) -> DirectorySeen {
        let (mut seen, way) = (DirectorySeen::default(), way.to_string());
        let output = self.0.output();
        let said: Vec<Vec<&str>> =
            output.lines().filter_map(|line| Some(line.split_once(MARK)?.1.split_whitespace().collect())).collect();
        let answers = |cookie: &str| {
            said.iter().any(|words| matches!(words[..], [back, "answer", of, _] if back != way && of == cookie))
        };
        for words in &said {
            match words[..] {
                [to, "ask", cookie, extended] if to == way => {
                    let (asked, answered) = if extended == "1" {
                        seen.extended += 1;
                        (&mut seen.asked_extended, &mut seen.answered_extended)
                    } else {
                        (&mut seen.asked_plain, &mut seen.answered_plain)
                    };
                    *asked += 1;
                    *answered += usize::from(answers(cookie));
                }
                [to, "answer" | "store", _, "1"] if to == way => seen.extended += 1,
                _ => {}
            }
        }
        seen
    }

    /// What has passed, taking datagrams of at least `size` bytes (endpoint id included) for packets of the program.
    pub(crate) fn seen(&self, size: usize) -> Seen {
        let (mut seen, mut lens) = (Seen::default(), Vec::new());
        for line in self.0.output().lines() {
            let Some((_, line)) = line.split_once(MARK) else { continue };
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["<", "d", len, _] = words[..] {
                lens.extend(len.parse::<usize>());
            }
            if let [way, "m", _, "0", size] = words[..] {
                let shown = if way == ">" { &mut seen.certificate_there } else { &mut seen.certificate_back };
                *shown |= size != "0";
            }
            match words[..] {
                [">", "m", "1", ..] => seen.flow_requests += 1,
                ["<", "m", "2", "0", ..] => seen.flow_accepts += 1,
                ["<", "m", "2", code, ..] => seen.flow_refusal = Some(code.to_owned()),
                [way, "d", len, readable] if len.parse().is_ok_and(|len: usize| len >= size) => {
                    let (there, clear) = if way == ">" {
                        (&mut seen.there, &mut seen.there_readable)
                    } else {
                        (&mut seen.back, &mut seen.back_readable)
                    };
                    *there += 1;
                    *clear += usize::from(readable == "1");
                }
                _ => {}
            }
        }
        // What leaves together passes as one.
        let answer = lens.iter().copied().filter(|len| *len >= size).min();
        seen.back_beside = lens.iter().filter(|len| Some(**len) != answer).count();
        seen
    }
}

/// Messages of the directory.
#[derive(Debug, Default)]
pub(crate) struct DirectorySeen {
    /// With what only ours understands.
    pub(crate) extended: usize,
    /// Requests with it and without, and those of them that were answered.
    pub(crate) asked_extended: usize,
    pub(crate) answered_extended: usize,
    pub(crate) asked_plain: usize,
    pub(crate) answered_plain: usize,
}

/// Counts of one run. "There" is client to server.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) flow_requests: usize,
    pub(crate) flow_accepts: usize,
    pub(crate) flow_refusal: Option<String>,
    /// Whether a request, and a reply that accepts, has shown a certificate; of UDP alone.
    pub(crate) certificate_there: bool,
    pub(crate) certificate_back: bool,
    pub(crate) there: usize,
    pub(crate) there_readable: usize,
    pub(crate) back: usize,
    pub(crate) back_readable: usize,
    /// Datagrams of the server that are not one packet of its program, where these have one size.
    pub(crate) back_beside: usize,
}
