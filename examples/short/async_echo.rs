//! Asynchronous flows with tokio: one server, and a hundred clients at the same time.

#![allow(clippy::indexing_slicing, reason = "a read says how much of the buffer it has filled")]

use std::error::Error;

use o7s::{Listener, QosSpec, Stack, Udp4, aio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

// A stack has threads of its own and needs none of the runtime: one is enough for all tasks.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let server = Stack::new()?;
    let net = server.udp4(Udp4::bind("127.0.0.1:0"))?;
    let at = net.local_addr().ok_or("a UDP layer has an address")?.to_string();
    net.register("upper")?;
    let serving = tokio::spawn(serve(server.bind("upper")?));

    let client = Stack::new()?;
    client.udp4(Udp4::outgoing("127.0.0.1").host("upper", &at))?;
    let mut clients = JoinSet::new();
    for number in 0..100 {
        clients.spawn(call(client.clone(), format!("client {number}")));
    }
    let mut served = 0;
    while let Some(answer) = clients.join_next().await {
        assert!(answer??.starts_with("CLIENT "));
        served += 1;
    }
    println!("{served} clients were served");
    serving.abort();
    Ok(())
}

/// Accepts flows, each for a task of its own.
async fn serve(listener: Listener) -> Result<()> {
    loop {
        tokio::spawn(upper(listener.accept_async().await?));
    }
}

/// Answers packets with packets.
async fn upper(flow: aio::Flow) -> Result<()> {
    let mut buf = [0; 1500];
    loop {
        let len = flow.read(&mut buf).await?;
        flow.write(&buf[..len].to_ascii_uppercase()).await?;
    }
}

/// As a stream, with the feature `tokio`, a flow goes wherever tokio's traits do.
async fn call(stack: Stack, text: String) -> Result<String> {
    let mut stream = stack.flow("upper").qos(QosSpec::DATA).alloc_async().await?.stream();
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8(answer)?)
}
