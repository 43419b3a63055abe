//! Futures move between the threads of an executor. That it compiles is the test; `tests/public_api.rs` looks at types.

use std::time::Duration;

use o7s::{ConnectOptions, FlowSet, IpcpHandle, Listener, NetworkConfig, Stack, aio};

fn moves<T: Send>(_: &T) {}

/// Every future of the interface. Never called: that would need flows.
#[expect(dead_code, reason = "it is checked by the compiler")]
fn every_future_moves(stack: &Stack, listener: &Listener, flow: aio::Flow, set: &FlowSet, ipcp: &IpcpHandle) {
    moves(&stack.flow("name").alloc_async());
    moves(&stack.unicast("member").enroll_async("other"));
    moves(&stack.broadcast("member").enroll_async("other"));
    moves(&stack.network(&NetworkConfig::default()).build_async());
    moves(&listener.accept_async());
    moves(&set.wait_async());
    moves(&ipcp.connect_async("member"));
    moves(&ipcp.connect_with_async("member", ConnectOptions::default()));
    moves(&ipcp.locate_async("name"));
    moves(&flow.read(&mut [0; 9]));
    moves(&flow.read_bytes());
    moves(&flow.write(b"data"));
    moves(&flow.shutdown());
    moves(&flow.close(Duration::ZERO));
}
