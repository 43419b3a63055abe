//! HTTP over flows, with hyper: whatever speaks HTTP over a stream of bytes does so over a flow.

use std::convert::Infallible;
use std::error::Error;

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use o7s::{QosSpec, Stack, Udp4};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let stack = Stack::new()?;
    let net = stack.udp4(Udp4::bind("127.0.0.1:0"))?;
    let at = net.local_addr().ok_or("a UDP layer has an address")?.to_string();
    net.register("web")?;
    let listener = stack.bind("web")?;
    tokio::spawn(async move {
        while let Ok(flow) = listener.accept_async().await {
            // With the feature `tokio` a stream has tokio's traits, and `TokioIo` makes hyper's of them.
            let connection = server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(flow.stream()), service_fn(answer)));
        }
    });

    let browser = Stack::new()?;
    browser.udp4(Udp4::outgoing("127.0.0.1").host("web", &at))?;
    // HTTP relies on a reliable stream.
    let flow = browser.flow("web").qos(QosSpec::DATA).alloc_async().await?;
    let (mut requests, connection) = client::conn::http1::handshake(TokioIo::new(flow.stream())).await?;
    tokio::spawn(connection);
    for path in ["/", "/news"] {
        let request = Request::get(path).header(HOST, "web").body(Empty::<Bytes>::new())?;
        let response = requests.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{path}: {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("you have asked for {}", request.uri().path()))))
}
