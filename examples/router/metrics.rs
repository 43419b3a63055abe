//! The least of an HTTP server that Prometheus is content with, and that a slow client cannot keep from it.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use o7s::time::Instant;
use o7s::{Stack, rib};

/// The longest request, bytes; Prometheus needs a few hundred.
const MAX_REQUEST: usize = 8192;
/// How long a client may take for its request and for the answer together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients at a time. One more, and the one that has been there for longest has to go: a scrape takes milliseconds.
const MAX_CLIENTS: usize = 16;
/// A pause when the operating system gives no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers each client on a thread of its own.
pub(crate) fn serve(listener: &TcpListener, stack: &Stack) {
    let mut clients: VecDeque<Arc<TcpStream>> = VecDeque::new();
    for connection in listener.incoming() {
        let Ok(connection) = connection.map(Arc::new) else {
            std::thread::park_timeout(PAUSE);
            continue;
        };
        // A thread that has ended holds no connection any more.
        clients.retain(|client| Arc::strong_count(client) > 1);
        while clients.len() >= MAX_CLIENTS {
            if let Some(oldest) = clients.pop_front() {
                // Its thread finds that out and ends.
                let _ = oldest.shutdown(Shutdown::Both);
            }
        }
        let (client, stack) = (Arc::clone(&connection), stack.clone());
        clients.push_back(connection);
        let serve = move || {
            // Whatever is wrong with a connection, the next one may be better.
            let _ = answer(&client, &stack);
            // The list of clients holds the connection, too, until the next one comes.
            let _ = client.shutdown(Shutdown::Both);
        };
        let _ = Builder::new().name("metrics client".into()).spawn(serve);
    }
}

fn answer(connection: &TcpStream, stack: &Stack) -> Result<()> {
    let until = stack.now() + PATIENCE;
    let request = read(connection, stack, until)?;
    let (status, body) = match request.lines().next().unwrap_or_default().split(' ').collect::<Vec<_>>().as_slice() {
        ["GET", "/metrics", _] => ("200 OK", rib::prometheus(&stack.rib())),
        ["GET", ..] => ("404 Not Found", "The metrics are at /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed", "There is nothing here but GET /metrics.\n".to_owned()),
    };
    let (kind, length) = ("text/plain; version=0.0.4; charset=utf-8", body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\nAllow: GET\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    write(connection, (head + &body).as_bytes(), stack, until)
}

/// The time that is left of a client's: a client that sends or takes a byte at a time gets no more of it.
fn left(stack: &Stack, until: Instant) -> Result<Duration> {
    let left = until.since(stack.now());
    if left.is_zero() { Err(Error::from(ErrorKind::TimedOut)) } else { Ok(left) }
}

/// Reads a request up to the empty line behind its head.
fn read(mut connection: &TcpStream, stack: &Stack, until: Instant) -> Result<String> {
    let mut request = Vec::new();
    let mut part = [0; 512];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        connection.set_read_timeout(Some(left(stack, until)?))?;
        match connection.read(&mut part)? {
            0 => break,
            len => request.extend_from_slice(part.get(..len).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn write(mut connection: &TcpStream, mut bytes: &[u8], stack: &Stack, until: Instant) -> Result<()> {
    while !bytes.is_empty() {
        connection.set_write_timeout(Some(left(stack, until)?))?;
        let written = connection.write(bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
