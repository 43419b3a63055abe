//! Flows whose packets say where they come from and where they are to go.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::rc::Rc;

use o7s::{AllocError, QosSpec, aio};

use super::layer::Layer;
use super::secs;

/// What member `i` offers.
pub(crate) fn service(i: usize) -> String {
    format!("service-{i}")
}

/// From, to, number.
fn packet(from: usize, to: usize, number: u32) -> Vec<u8> {
    [from as u32, to as u32, number].iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn parse(packet: &[u8]) -> (usize, usize, u32) {
    assert_eq!(packet.len(), 12, "a packet of somebody else");
    let word = |i: usize| u32::from_be_bytes(packet[4 * i..4 * i + 4].try_into().unwrap());
    (word(0) as usize, word(1) as usize, word(2))
}

/// How often a flow is asked for if nobody answers.
const ATTEMPTS: u32 = 5;

/// What became of packets.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) flows: Cell<u32>,
    pub(crate) refused: RefCell<Vec<(usize, usize, AllocError)>>,
    pub(crate) sent: Cell<u32>,
    pub(crate) echoed: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

/// Member `i` sends back whatever is for it; what is not must not come.
pub(crate) fn serve(layer: &Layer, i: usize) {
    let listener = layer.hosts[i].stack().bind(&service(i)).unwrap();
    layer.members[i].register(&service(i)).unwrap();
    let net = layer.net.clone();
    layer.net.spawn(async move {
        while let Ok(flow) = listener.accept_async().await {
            net.spawn(echo(flow, i));
        }
    });
}

async fn echo(flow: aio::Flow, i: usize) {
    let mut peer = None;
    while let Ok(packet) = flow.read_bytes().await {
        let (from, to, _) = parse(&packet);
        assert_eq!(to, i, "a packet at the wrong member");
        assert_eq!(*peer.get_or_insert(from), from, "a packet at the wrong flow");
        let _ = flow.write(&packet).await;
    }
}

/// Has member `from` send packets to the service of `to` and look at what comes back.
pub(crate) fn talk(layer: &Layer, from: usize, to: usize, packets: u32, every: Duration, tally: &Rc<Tally>) {
    let (net, tally, stack) = (layer.net.clone(), Rc::clone(tally), layer.hosts[from].stack().clone());
    layer.net.spawn(async move {
        let qos = QosSpec::BEST_EFFORT;
        let mut attempts = 0;
        let flow = loop {
            attempts += 1;
            match stack.flow(&service(to)).qos(qos).timeout(secs(30)).alloc_async().await {
                Ok(flow) => break flow,
                // Several hops that lose a fifth of all packets can be too much for one attempt.
                Err(AllocError::Failed(o7s::node::alloc::AllocError::TimedOut(_))) if attempts < ATTEMPTS => {}
                Err(e) => return tally.refused.borrow_mut().push((from, to, e)),
            }
        };
        count(&tally.flows);
        let mut seen = vec![false; packets as usize];
        for number in 0..packets {
            let until = net.now() + every;
            if flow.write(&packet(from, to, number)).await.is_ok() {
                count(&tally.sent);
            }
            while net.now() < until {
                match net.timeout(until - net.now(), flow.read_bytes()).await {
                    Ok(Ok(packet)) => {
                        let (source, destination, number) = parse(&packet);
                        assert_eq!((source, destination), (from, to), "an answer at the wrong flow");
                        let again = core::mem::replace(&mut seen[number as usize], true);
                        assert!(!again, "packet {number} came twice");
                        count(&tally.echoed);
                    }
                    Ok(Err(_)) => return,
                    Err(_) => break,
                }
            }
        }
    });
}
