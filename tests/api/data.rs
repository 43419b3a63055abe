//! Data that travels with a request for a flow, and with its reply.

use std::thread::Builder;
use std::time::Duration;

use o7s::{AllocError, Flow, Stack};

use super::{secure, udp_pair};

const BOUND: Duration = Duration::from_secs(20);
/// Bytes of data that an end takes by default.
const MAX: usize = 1024;

/// Allocates with `data`; the other end answers with `reply` if it was told of the data. Both ends, as far as they came to be,
/// and what the other end was told.
fn exchange(
    server: &Stack,
    client: &Stack,
    data: &[u8],
    reply: &[u8],
) -> (Result<Flow, AllocError>, Option<Flow>, Vec<u8>) {
    let (listener, reply) = (server.bind("echo").unwrap(), reply.to_vec());
    let stack = server.clone();
    let accepts = Builder::new().spawn(move || {
        let mut told = Vec::new();
        let flow = listener.accept_with(|data| {
            told = data.to_vec();
            reply.clone()
        });
        drop(stack);
        (flow.ok(), told)
    });
    let near = client.flow("echo").data(data).timeout(BOUND).alloc();
    if near.is_err() {
        server.shutdown();
    }
    let (far, told) = accepts.unwrap().join().unwrap();
    (near, far, told)
}

#[test]
fn data_travels_with_request_and_reply() {
    for security in secure() {
        let (server, client) = udp_pair(&security);
        let most: Vec<u8> = (0..MAX).map(|i| i as u8).collect();
        let cases: [(&[u8], &[u8]); 5] =
            [(b"question", b"answer"), (b"question", b""), (b"", b"answer"), (b"", b""), (&most, &[7; MAX])];
        for (data, reply) in cases {
            let (near, far, told) = exchange(&server, &client, data, reply);
            let (near, far) = (near.unwrap(), far.unwrap());
            assert_eq!(told, data, "what the acceptor is told to make its reply of");
            assert_eq!((near.peer_data(), far.peer_data()), (reply, data), "each end has the other's");
            near.write(b"hello").unwrap();
            assert_eq!(far.read_timeout(&mut [0; 64], BOUND), Ok(5));
        }
    }
}

#[test]
fn data_within_one_stack_travels_as_well() {
    let stack = Stack::new().unwrap();
    let (near, far, told) = exchange(&stack, &stack, b"question", b"answer");
    assert_eq!(
        (near.unwrap().peer_data(), far.unwrap().peer_data(), &told[..]),
        (&b"answer"[..], &b"question"[..], &b"question"[..])
    );
}

#[test]
fn too_much_data_is_an_error() {
    for security in secure() {
        let (server, client) = udp_pair(&security);
        for size in [MAX + 1, 70_000] {
            let error = client.flow("echo").data(vec![7; size]).alloc().map(drop).unwrap_err();
            assert!(matches!(error, AllocError::Security(_)), "{error:?}");
            assert!(error.to_string().contains(&format!("{size} bytes")), "{error}");
        }
        let (near, far, told) = exchange(&server, &client, b"question", &[7; MAX + 1]);
        assert!(matches!(near, Err(AllocError::Refused { .. })), "{near:?}");
        assert!(far.is_none(), "the program gets no flow");
        assert_eq!(told, b"question");
    }
}
