//! A random scenario: everything about it follows from the seed.

use core::time::Duration;

use o7s::base::rng::Rng;
use o7s::sim::{Digest, Event, Link, Loss, Queue};
use o7s::{QosSpec, aio};

use super::{Pair, Script, expect, ms, secs, send};

/// What the network is like.
fn link(rng: &mut Rng) -> Link {
    let loss = match rng.below(3) {
        0 => Loss::None,
        1 => Loss::Random(rng.below(10) as f64 / 100.0),
        _ => Loss::bursty(rng.below(5) as f64 / 100.0, 1.0 + rng.below(4) as f64),
    };
    let mut link = Link::default()
        .latency(ms(rng.below(100)))
        .jitter(ms(rng.below(10)))
        .loss(loss)
        .duplicate(rng.below(5) as f64 / 100.0)
        .reorder(rng.below(10) as f64 / 100.0, ms(1 + rng.below(30)))
        .corrupt(rng.below(3) as f64 / 100.0);
    if rng.chance(0.5) {
        link = link.rate(1_000_000 * (1 + rng.below(100))).queue(Queue::Packets(10 + rng.below(200) as usize));
    }
    link
}

/// Runs the scenario of a seed: flows of all kinds at once, both ways, on a bad network with a partition now and then.
/// Encrypted throughout: where bits flip and nothing checks, data does not arrive as it was sent.
pub(crate) fn run(seed: u64) -> (Digest, Vec<Event>) {
    let mut rng = Rng::from_seed([0x6d; 32]).split(&seed.to_string());
    let security = ["X25519,chacha20-poly1305", "prime256v1,aes-256-gcm", "X25519,aes-128-gcm"][rng.below(3) as usize];
    let pair = Pair::new(seed, link(&mut rng), security);
    let net = &pair.net;
    net.record(1_000_000);
    if rng.chance(0.3) {
        let (inner, begin, long) = (net.clone(), ms(rng.below(5000)), ms(rng.below(8000)));
        net.spawn(async move {
            inner.sleep(begin).await;
            inner.partition(&[super::CLIENT], &[super::SERVER]);
            inner.sleep(long).await;
            inner.heal();
        });
    }
    net.block_on(async {
        let mut tasks = Vec::new();
        for i in 0..1 + rng.below(3) {
            let reliable = rng.chance(0.7);
            let qos = if reliable { QosSpec::DATA } else { QosSpec::BEST_EFFORT };
            let (near, far) = pair.connect(qos).await;
            let (near, far) = if rng.chance(0.5) { (near, far) } else { (far, near) };
            let total = 1 + rng.below(60_000) as usize;
            let largest = near.as_blocking().max_packet().min(1 + rng.below(1500) as usize);
            let purpose = format!("flow {i}");
            let script = move |net: &o7s::sim::Network| Script::new(net, &purpose, total, largest);
            let (written, read) = (script(net), script(net));
            if reliable {
                tasks.push(net.spawn(async move {
                    expect(&far, read).await;
                    drop(far)
                }));
            } else {
                let inner = net.clone();
                tasks.push(net.spawn(async move { expect_some(&inner, &far, read).await }));
            }
            let inner = net.clone();
            tasks.push(net.spawn(async move {
                send(&near, written).await;
                if reliable {
                    near.close(secs(120)).await.expect("all of it is acknowledged");
                } else {
                    inner.sleep(secs(20)).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    });
    (net.digest(), net.recorded())
}

/// Reads what arrives until it has been quiet for long: some of the script, in its order, each message whole.
async fn expect_some(net: &o7s::sim::Network, flow: &aio::Flow, mut script: Script) {
    const QUIET: Duration = Duration::from_secs(15);
    while let Ok(Ok(got)) = net.timeout(QUIET, flow.read_bytes()).await {
        assert!(script.any(|message| message[..] == got[..]), "something arrived that was not sent, or out of order");
    }
}
