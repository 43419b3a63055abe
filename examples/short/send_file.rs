//! Sends a file over an encrypted and reliable flow, with a line that says how far it is.

#![allow(clippy::indexing_slicing, reason = "a read says how much of the buffer it has filled")]

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::Shutdown;
use std::path::PathBuf;

use o7s::{Flow, QosSpec, SecurityConfig, Stack, Udp4};

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: send_file FILE")?);
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let about = std::fs::metadata(&path).map_err(named)?;
    // A pipe has no size, and opening one that nobody writes to would wait.
    if !about.is_file() {
        return Err(format!("{} is not a file", path.display()).into());
    }
    let (mut file, size) = (File::open(&path).map_err(named)?, about.len());
    let shows = io::stderr().is_terminal();

    // Both ends want every flow encrypted, or there is none.
    let security: SecurityConfig = "X25519,chacha20-poly1305".parse()?;
    let server = Stack::builder().security(security.clone()).build()?;
    let net = server.udp4(Udp4::bind("127.0.0.1:0"))?;
    let at = net.local_addr().ok_or("a UDP layer has an address")?.to_string();
    net.register("drop-box")?;
    server.bind_handler("drop-box", |flow| {
        if let Err(error) = receive(&flow) {
            eprintln!("the file was not received: {error}");
        }
    })?;

    let client = Stack::builder().security(security).build()?;
    client.udp4(Udp4::outgoing("127.0.0.1").host("drop-box", &at))?;
    let flow = client.flow("drop-box").qos(QosSpec::DATA).alloc()?;
    println!("the flow is {}", flow.security());
    let (mut stream, mut buf, mut sent) = (flow.stream(), vec![0; 1 << 16], 0);
    loop {
        let len = file.read(&mut buf).map_err(named)?;
        if len == 0 {
            break;
        }
        // Waits while the other end, or the network, is slower than the disk.
        stream.write_all(&buf[..len])?;
        sent += len as u64;
        if shows {
            // The file may grow meanwhile.
            eprint!("\r{sent} of {size} bytes, {} %", 100 * sent / size.max(sent));
        }
    }
    if shows {
        eprintln!("\r{sent} bytes were sent");
    }
    // The end of the stream for the server, which then answers.
    stream.flush()?;
    flow.shutdown(Shutdown::Write);
    let mut answer = String::new();
    flow.stream().read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

fn receive(flow: &Flow) -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("o7s-received-{}", std::process::id()));
    let bytes = io::copy(&mut flow.stream(), &mut File::create(&path)?)?;
    write!(flow.stream(), "received {bytes} bytes as {}", path.display())
}
