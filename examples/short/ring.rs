//! A simulated ring of 20 nodes: a routed layer that finds its way, and another one when a link is cut.
//!
//! Time is virtual, so that minutes pass in a moment, and the same seed gives the same run.

use std::error::Error;
use std::time::Duration;

use o7s::sim::{Link, Network};
use o7s::{QosSpec, UnicastLayer};

const NODES: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let net = Network::new(7);
    net.set_default_link(Link::default().latency(Duration::from_millis(5)));
    let addr = |i: usize| format!("10.0.0.{}", i + 1);
    let hosts: Vec<_> = (0..NODES).map(|i| net.host(&format!("host {i}")).udp4(&addr(i)).build()).collect();

    net.block_on(async {
        // Each node is a member of the layer, over the UDP layer of its host. The first makes it, each other one enrolls with
        // the one before it and becomes its neighbour. The network knows where the names of members are.
        let mut members = Vec::new();
        for (i, host) in hosts.iter().enumerate() {
            let [udp] = host.udp4() else { return Err("a host has one UDP layer".into()) };
            let builder = host.stack().unicast(&format!("node {i}")).over(udp);
            members.push(match i.checked_sub(1) {
                None => builder.bootstrap(UnicastLayer::new("ring"))?,
                Some(before) => {
                    let neighbour = format!("node {before}");
                    let member = builder.enroll_async(&neighbour).await?;
                    member.connect_async(&neighbour).await?;
                    member
                }
            });
        }
        let [_, _, third, .., last] = members.as_slice() else { return Err("a ring has members".into()) };
        last.connect_async("node 0").await?;

        // A service at the third node, which the first reaches by way of the second.
        let [near, _, far, ..] = hosts.as_slice() else { return Err("a ring has hosts".into()) };
        third.register("echo")?;
        let listener = far.stack().bind("echo")?;
        net.spawn(async move {
            while let Ok(flow) = listener.accept_async().await {
                while let Ok(packet) = flow.read_bytes().await {
                    let _ = flow.write(&packet).await;
                }
            }
        });
        net.sleep(Duration::from_secs(60)).await;
        let flow = near.stack().flow("echo").qos(QosSpec::DATA).alloc_async().await?;
        for what in ["by way of one node", "while the link is cut", "by way of all the others"] {
            let start = net.now();
            flow.write(what.as_bytes()).await?;
            flow.read_bytes().await?;
            println!("{what}: there and back in {:?}", net.now() - start);
            net.partition(&["10.0.0.1"], &["10.0.0.2"]);
        }
        Ok(())
    })
}
