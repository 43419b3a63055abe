//! The least of an HTTP server that Prometheus is content with.

use std::io::{Read as _, Result, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use o7s::{Stack, rib};

/// The longest request; Prometheus needs a few hundred bytes.
const MAX_REQUEST: usize = 8192;
/// How long a client may keep the others waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers one request after the other.
pub(crate) fn serve(listener: &TcpListener, stack: &Stack) {
    for connection in listener.incoming() {
        // Whatever is wrong with a connection, the next one may be better.
        let _ = connection.and_then(|connection| answer(connection, stack));
    }
}

fn answer(mut connection: TcpStream, stack: &Stack) -> Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let request = read(&mut connection)?;
    let (status, body) = match request.lines().next().unwrap_or_default().split(' ').collect::<Vec<_>>().as_slice() {
        ["GET", "/metrics", _] => ("200 OK", rib::prometheus(&stack.rib())),
        ["GET", ..] => ("404 Not Found", "The metrics are at /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed", "There is nothing here but GET /metrics.\n".to_owned()),
    };
    let (kind, length) = ("text/plain; version=0.0.4; charset=utf-8", body.len());
    let head = format!(
        "HTTP/1.1 {status}\r\nAllow: GET\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())
}

/// Reads a request up to the empty line behind its head.
fn read(connection: &mut TcpStream) -> Result<String> {
    let mut request = Vec::new();
    let mut part = [0; 512];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        match connection.read(&mut part)? {
            0 => break,
            len => request.extend_from_slice(part.get(..len).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}
