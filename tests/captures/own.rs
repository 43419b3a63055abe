//! The capture that this library has made of itself. It is made anew here, with `O7S_BLESS` set; nobody edits it by hand.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use o7s::QosSpec;
use o7s::capture::{CaptureConfig, Follower, Reader};
use o7s::dissect::Value;
use o7s::oap::replay::ReplayCache;
use o7s::oap::server::Request;
use o7s::sim::{Link, Network};
use o7s::wire::oap::Message;

fn idle_flow() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures/o7s-idle.pcapng")
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An encrypted reliable flow with a timeout of two seconds that has nothing to send for five, as the client's stack sees it.
fn make() -> Vec<u8> {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(Duration::from_millis(1)));
    let host = |name: &str, addr: &str| {
        net.host(name).udp4(addr).stack(|s| s.security("X25519,aes-256-gcm".parse().unwrap())).build()
    };
    let (client, server) = (host("client", "10.0.0.1:3435"), host("server", "10.0.0.2:3435"));
    let sink = Sink::default();
    let capture = client.stack().capture(sink.clone(), CaptureConfig::default().keys(true)).unwrap();
    let listener = server.listen("service");
    net.block_on(async {
        let accepting = net.spawn(async move { listener.accept_async().await.unwrap() });
        let qos = QosSpec { timeout: 2000, ..QosSpec::DATA };
        let _near = client.stack().flow("service").qos(qos).alloc_async().await.unwrap();
        let _far = accepting.await;
        net.sleep(Duration::from_secs(5)).await;
    });
    capture.stop().unwrap();
    sink.0.lock().unwrap().clone()
}

/// How many requests for flows there are, and how many of them say that they are of this library, as it is now.
fn requests(file: &[u8]) -> (usize, usize) {
    let mut reader = Reader::new(file).unwrap();
    let mut follower = Follower::default();
    let (mut all, mut own) = (0, 0);
    while let Some(packet) = reader.packet().unwrap() {
        let followed = follower.follow(packet.link, &packet.data);
        if !followed.to_string().contains("| flow request ") {
            continue;
        }
        let id = followed.fields().iter().find(|field| field.name == "o7s.oap.id").map(|field| field.value.clone());
        let Some(Value::Bytes(id)) = id else { panic!("{followed}") };
        let message = Message { id: id.try_into().unwrap(), ..Message::default() };
        let request = Request::check(0, message.to_vec().unwrap(), &mut ReplayCache::default()).unwrap();
        all += 1;
        own += usize::from(request.is_o7s());
    }
    (all, own)
}

#[test]
fn the_capture_is_of_this_library_as_it_is() {
    let file = idle_flow();
    if std::env::var_os("O7S_BLESS").is_some() {
        std::fs::write(&file, make()).unwrap();
    }
    for capture in [std::fs::read(file).unwrap(), make()] {
        let (all, own) = requests(&capture);
        assert!(all > 0 && own == all, "{own} of {all} requests: make it anew with O7S_BLESS=1");
    }
}
