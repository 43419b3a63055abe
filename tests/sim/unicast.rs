//! Unicast layers in virtual time.

use o7s::sim::{Link, Network};
use o7s::{QosSpec, UnicastLayer};

use super::world::layer::Layer;
use super::world::{ms, secs};

#[test]
fn three_in_a_line() {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(ms(1)));
    let layer = Layer::build(net, 3, &[(0, 1), (1, 2)], UnicastLayer::new("net"));
    let net = &layer.net;
    let listener = layer.hosts[2].stack().bind("echo").unwrap();
    layer.members[2].register("echo").unwrap();
    net.spawn(async move {
        let flow = listener.accept_async().await.unwrap();
        while let Ok(packet) = flow.read_bytes().await {
            flow.write(&packet).await.unwrap();
        }
    });
    net.block_on(net.sleep(secs(1)));
    println!("{}", layer.hosts[1].stack().rib());
    let flow = net.block_on(layer.hosts[0].stack().flow("echo").qos(QosSpec::DATA).alloc_async()).unwrap();
    net.block_on(async {
        for i in 0..100u32 {
            flow.write(&i.to_be_bytes()).await.unwrap();
            assert_eq!(&*flow.read_bytes().await.unwrap(), i.to_be_bytes());
        }
    });
    println!("time {:?}", net.now());
}
