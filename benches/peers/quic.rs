//! QUIC, as quinn does it: the alternative over UDP.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::runtime::Runtime;

const CHUNK: usize = 64 * 1024;

/// A server and a client, each with its own socket, on one multi-threaded runtime.
pub(crate) struct Quic {
    runtime: Runtime,
    server: Endpoint,
    client: Endpoint,
}

/// Both ends of a connection.
pub(crate) struct Pair {
    client: Connection,
    server: Connection,
}

/// A socket with the buffers that o7s asks for too.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let buffers = socket2::SockRef::from(&socket);
    buffers.set_recv_buffer_size(8 << 20).unwrap();
    buffers.set_send_buffer_size(8 << 20).unwrap();
    socket
}

/// Windows that do not slow down a bulk transfer; all else as quinn has it.
fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(8 << 20));
    transport.receive_window(VarInt::from_u32(16 << 20));
    transport.send_window(16 << 20);
    Arc::new(transport)
}

impl Quic {
    pub(crate) fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed(vec!["peer".into()]).unwrap();
        let certificate: CertificateDer<'static> = issued.cert.into();
        let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let mut server_config = ServerConfig::with_single_cert(vec![certificate.clone()], key.into()).unwrap();
        server_config.transport_config(transport());

        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Every handshake is a full one, as every flow allocation is.
        tls.resumption = Resumption::disabled();
        let mut client_config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        client_config.transport_config(transport());

        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (server, client) = runtime.block_on(async {
            let endpoint = |config| Endpoint::new(EndpointConfig::default(), config, socket(), Arc::new(TokioRuntime));
            let mut client = endpoint(None).unwrap();
            client.set_default_client_config(client_config);
            (endpoint(Some(server_config)).unwrap(), client)
        });
        Self { runtime, server, client }
    }

    fn addr(&self) -> SocketAddr {
        self.server.local_addr().unwrap()
    }

    pub(crate) fn connect(&self) -> Pair {
        self.runtime.block_on(async {
            let connecting = self.client.connect(self.addr(), "peer").unwrap();
            let accepting = async { self.server.accept().await.unwrap().await.unwrap() };
            let (client, server) = tokio::join!(connecting, accepting);
            Pair { client: client.unwrap(), server }
        })
    }

    /// Handshakes a second, one after the other.
    pub(crate) fn handshakes_a_second(&self, n: usize) -> f64 {
        let server = self.server.clone();
        self.runtime.block_on(async {
            let accepting = tokio::spawn(async move {
                for _ in 0..n {
                    server.accept().await.unwrap().await.unwrap();
                }
            });
            let start = Instant::now();
            for _ in 0..n {
                let connection = self.client.connect(self.addr(), "peer").unwrap().await.unwrap();
                connection.close(VarInt::from_u32(0), &[]);
            }
            let seconds = start.elapsed().as_secs_f64();
            accepting.await.unwrap();
            n as f64 / seconds
        })
    }
}

impl Pair {
    /// Bytes a second over a fresh one-directional stream.
    pub(crate) fn bytes_a_second(&self, quic: &Quic, bytes: usize) -> f64 {
        let (client, server) = (self.client.clone(), self.server.clone());
        quic.runtime.block_on(async {
            let start = Instant::now();
            let sending = tokio::spawn(async move {
                let chunk = vec![7; CHUNK];
                let mut stream = client.open_uni().await.unwrap();
                let mut left = bytes;
                while left > 0 {
                    let n = left.min(CHUNK);
                    stream.write_all(&chunk[..n]).await.unwrap();
                    left -= n;
                }
                stream.finish().unwrap();
                // Until it has been acknowledged.
                stream.stopped().await.unwrap();
            });
            let receiving = tokio::spawn(async move {
                let mut stream = server.accept_uni().await.unwrap();
                let mut buf = vec![0; CHUNK];
                let mut got = 0;
                while let Some(n) = stream.read(&mut buf).await.unwrap() {
                    got += n;
                }
                assert_eq!(got, bytes);
                Instant::now()
            });
            sending.await.unwrap();
            bytes as f64 / (receiving.await.unwrap() - start).as_secs_f64()
        })
    }
}
