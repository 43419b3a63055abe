//! A logger is code of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use o7s::sim::{Digest, Network};
use o7s::{LocalConfig, SecurityConfig, Stack, UnicastLayer};

use super::{collect, echo, hosts};

#[test]
fn a_logger_may_use_the_stack() -> Result<(), Box<dyn std::error::Error>> {
    collect::install();
    let stack = Stack::builder().name("reentrant").build()?;
    let (inner, calls) = (stack.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let hooked = collect::on_record("reentrant", move || {
        assert!(!inner.rib().to_string().is_empty());
        // Binds, which is told, and so would call the logger again without end.
        drop(inner.bind("by the logger"));
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let below = stack.local(LocalConfig::new("wire", "wire"));
    let first = stack.unicast("node-a").over(&below).bootstrap(UnicastLayer::new("net"))?;
    let second = stack.unicast("node-b").over(&below).enroll("node-a")?;
    second.connect("node-a")?;
    first.register("service")?;
    let listener = stack.bind("service")?;
    assert!(listener.try_accept().is_err());
    second.leave();
    stack.shutdown();
    assert!(calls.load(Ordering::Relaxed) > 10, "{calls:?}");
    drop(hooked);
    Ok(())
}

#[test]
fn a_panicking_logger_does_not_stop_the_stack() {
    collect::install();
    let net = Network::new(5);
    let (server, client) = hosts(&net, "panics", SecurityConfig::default());
    let _hooked = ["panics-server", "panics-client"]
        .map(|stack| collect::on_record(stack, || std::panic::resume_unwind(Box::new("a bug of a logger"))));
    echo(&net, &server, &client, b"hello");
    for host in [&server, &client] {
        assert!(host.stack().rib().get("node/foreign_panics").unwrap() > 0);
    }
}

#[test]
fn loggers_do_not_change_simulations() {
    collect::install();
    let run = |test: &str, logs: bool| -> Digest {
        let net = Network::new(6);
        let (server, client) = hosts(&net, test, SecurityConfig::default());
        let _hooked = logs.then(|| {
            let stack = server.stack().clone();
            collect::on_record(&format!("{test}-server"), move || drop(stack.rib()))
        });
        echo(&net, &server, &client, b"hello");
        net.digest()
    };
    assert_eq!(run("same", true), run("same", false));
}
