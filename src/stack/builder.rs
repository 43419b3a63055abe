//! Settings of a new stack.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::capture::{KeyLog, tell_keys};
use super::handlers::Handlers;
use super::security::{Demand, Held};
use super::threads::Background;
use super::{Shared, Stack, StackError};
use crate::base::buf::BufPool;
use crate::base::journal::record;
use crate::base::rng::Randomness;
use crate::base::sync::Mutex;
use crate::base::time::{Clock, ManualClock};
use crate::capture::Tap;
use crate::crypto::backend::Backend;
use crate::device::clock::{OsClock, PolledClock};
use crate::frct::congestion::Algorithm;
use crate::irm::NameSecurity;
use crate::node::gate::Gate;
use crate::node::{Entropy, Limits, Node, Parts};
use crate::oap::SecurityConfig;

/// Default bytes of a stream in one packet.
const STREAM_PACKET: usize = 1400;

/// Makes a [`Stack`].
///
/// ```
/// use o7s::time::Instant;
/// use o7s::Stack;
///
/// // No threads, no clock: the application drives it.
/// let stack = Stack::builder().polled().seed([7; 32]).build()?;
/// let next = stack.poll(Instant::from_millis(5));
/// assert_eq!(next, None, "nothing to do");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Builder {
    name: Option<String>,
    limits: Limits,
    seed: Option<[u8; 32]>,
    polled: Option<Arc<ManualClock>>,
    pool: Option<Arc<BufPool>>,
    security: SecurityConfig,
    crypto: Option<&'static Backend>,
    congestion: Option<Algorithm>,
    linger: Duration,
    stream_packet: usize,
    checksum: bool,
    key_log: Option<KeyLog>,
    gate: Option<Arc<dyn Gate>>,
    security_dir: Option<PathBuf>,
    demand: Option<Demand>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: None,
            limits: Limits::default(),
            seed: None,
            polled: None,
            pool: None,
            security: SecurityConfig::default(),
            crypto: None,
            congestion: None,
            linger: Duration::from_secs(131),
            stream_packet: STREAM_PACKET,
            checksum: false,
            key_log: None,
            gate: None,
            security_dir: None,
            demand: None,
        }
    }
}

impl Builder {
    /// Sets the name that log records of the stack carry as `stack`, for programs with several. Default: none.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets bounds and time limits. Default: those of [`Limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the seed of all randomness, keys included: for simulations, and where the operating system gives no randomness.
    /// There it has to be 32 bytes from a true random source, new at every start, or every key can be guessed. Default: one
    /// that the operating system gives.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the stack one without threads that never reads a clock: the application calls [`Stack::poll`] with the time.
    /// Default: a stack with threads.
    pub fn polled(self) -> Self {
        if self.polled.is_some() { self } else { self.polled_at(0) }
    }

    /// As [`polled`](Self::polled), with the real-time clock at the stack's epoch, in nanoseconds since 1970-01-01
    /// UTC. Peers refuse requests whose time stamps are more than 20 s old or 100 ms ahead.
    pub fn polled_at(self, unix_nanos: u64) -> Self {
        self.polled_with(&Arc::new(ManualClock::new(unix_nanos)))
    }

    /// As [`polled`](Self::polled), with a clock that may be set from elsewhere as well, so that what is written
    /// between two polls is not dated back to the earlier one.
    pub fn polled_with(mut self, clock: &Arc<ManualClock>) -> Self {
        self.polled = Some(Arc::clone(clock));
        self
    }

    /// Sets the pool of packet buffers, for several stacks in one process to share. Default: one of the stack's own, of
    /// [`Limits::idle_buffers`](Limits::idle_buffers).
    pub fn pool(mut self, pool: &Arc<BufPool>) -> Self {
        self.pool = Some(Arc::clone(pool));
        self
    }

    /// The protection of names that have no settings of their own. By default flows are neither encrypted nor refused
    /// encryption that the other end asks for. Of the ciphers of both ends the stronger is used, see [`SecurityConfig`].
    pub fn security(mut self, config: SecurityConfig) -> Self {
        self.security = config;
        self
    }

    /// Sets the implementation that encrypts packets and agrees on keys: one of [`cipher`](crate::cipher), or the caller's
    /// own. Default: the fastest of the build, which the features `ring` and `aws-lc-rs` may add. No result depends on
    /// it. A [static key](crate::keys::KemKey), which is read without a stack, opens with the fastest in any case what was
    /// encapsulated to it; a client encapsulates with the one that is set here. In a stack with a [seed](Self::seed) all
    /// fresh keys come from the seed, whatever the implementation.
    ///
    /// ```
    /// use o7s::Stack;
    /// use o7s::cipher;
    ///
    /// // The same in every build, whatever features others turn on.
    /// let stack = Stack::builder().crypto(&cipher::RUST).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn crypto(mut self, backend: &'static Backend) -> Self {
        self.crypto = Some(backend);
        self
    }

    /// Sets what avoids congestion on flows that do so end to end, a [controller of the caller's own](Algorithm::custom) for
    /// instance. Default: [`Algorithm::Cubic`].
    pub fn congestion_control(mut self, algorithm: Algorithm) -> Self {
        self.congestion = Some(algorithm);
        self
    }

    /// Sets how long data that was written is still delivered, on a flow that is not reliable sent, after the flow was dropped.
    /// Default: 131 s, which is when the protocol gives up by itself.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets the most that a [`Stream`](super::Stream) puts into one packet, bytes, at least 1; it puts in less where the
    /// layer [carries less](super::Flow::max_packet), and 0 counts as 1. Default: 1400, which with all headers fits into an
    /// Ethernet frame, so that IP need not fragment it. Larger ones are faster where the path carries them; on paths with an
    /// MTU below 1500 say so with [`Udp4::mtu`](super::Udp4::mtu).
    pub fn stream_packet(mut self, bytes: usize) -> Self {
        self.stream_packet = bytes;
        self
    }

    /// Sets whether `ber` 0 of qualities of service is honoured with a CRC-32 on every packet. See
    /// [`FlowBuilder::checksum`](super::FlowBuilder::checksum). Default: `false`.
    pub fn checksum(mut self, on: bool) -> Self {
        self.checksum = on;
        self
    }

    /// Has `tell` called with the key of each encrypted flow, a [line of a key log](crate::capture#key-logs) at a time, for
    /// tools that open captured packets. Whoever gets the lines can read the flows; the log is told at `warn` that there is
    /// one. It must not block. Default: nobody is told.
    ///
    /// ```
    /// use o7s::Stack;
    ///
    /// let stack = Stack::builder().key_log(|line| eprintln!("{line}")).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key_log(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.key_log = Some(Arc::new(tell));
        self
    }

    /// Has every flow of the stack be encrypted, whatever the other end would rather have: those that programs ask for and
    /// accept, and those of its members of layers.
    ///
    /// Flows are asked for with X25519MLKEM768 and AES-256-GCM, or ChaCha20-Poly1305 on a processor without AES; a server of the
    /// reference that knows no ML-KEM is asked again with X25519. Accepted is every exchange from prime256v1 on, the default of
    /// the reference. What [`security`](Self::security) says otherwise stays as it is.
    ///
    /// It keeps out who listens, not a man in the middle: see
    /// [`authenticate_everything`](Self::authenticate_everything).
    ///
    /// ```
    /// use o7s::Stack;
    ///
    /// let stack = Stack::builder().encrypt_everything().build()?;
    /// stack.bind_handler("echo", drop)?;
    /// let flow = stack.flow("echo").alloc()?;
    /// assert_eq!(flow.security().to_string(), "encrypted (X25519MLKEM768, sha256, aes-256-gcm), peer: o7s");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encrypt_everything(mut self) -> Self {
        self.demand = self.demand.max(Some(Demand::Encryption));
        self
    }

    /// As [`encrypt_everything`](Self::encrypt_everything), and every other end has to show a good certificate: with
    /// [`authorities`](SecurityConfig::authorities), and [`credentials`](SecurityConfig::credentials) of this one, from
    /// [`security`](Self::security) or from a [directory](Self::security_dir).
    pub fn authenticate_everything(mut self) -> Self {
        self.demand = self.demand.max(Some(Demand::Authentication));
        self
    }

    /// Has the stack begin with the settings, certificates and keys of this directory, as
    /// [`Stack::load_security`] reads them; with [`security`](Self::security) for what it does not say, and for what it has to
    /// satisfy. Default: none.
    pub fn security_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.security_dir = Some(directory.into());
        self
    }

    /// Has `gate` decide whose requests are accepted, for all names without a [gate of their own](Stack::set_gate), those of
    /// the stack's members of layers among them. Default: none, whoever satisfies the security settings is.
    pub fn gate(mut self, gate: impl Gate + 'static) -> Self {
        self.gate = Some(Arc::new(gate));
        self
    }

    /// Makes the stack.
    ///
    /// # Errors
    /// [`StackError`] if the operating system gives no thread or no randomness, or a file of the
    /// [directory](Self::security_dir) cannot be used.
    pub fn build(self) -> Result<Stack, StackError> {
        // A seed is given to repeat a run.
        let entropy: Option<Entropy> = self.seed.is_none().then_some(|bytes| getrandom::fill(bytes).is_ok());
        let seed = zeroize::Zeroizing::new(match self.seed {
            Some(seed) => seed,
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(|_| StackError::NoRandomness)?;
                seed
            }
        });
        let manual = self.polled;
        let clock: Arc<dyn Clock> = match &manual {
            Some(manual) => Arc::new(PolledClock::new(Arc::clone(manual))),
            None => Arc::new(OsClock::new()),
        };
        let mut limits = self.limits;
        if let Some(algorithm) = self.congestion {
            limits.frct.algorithm = algorithm;
        }
        let backend = self.crypto.unwrap_or_else(Backend::preferred);
        let security = NameSecurity { server: self.security.clone(), client: self.security };
        let security = match self.demand {
            Some(demand) => demand.over(security, backend),
            None => security,
        };
        let node = Node::new(Parts {
            name: self.name,
            clock,
            pool: self.pool,
            rng: Randomness::from_seed(*seed),
            entropy,
            limits,
            inline: manual.is_some(),
            security: security.clone(),
            backend,
        });
        tell_keys(&node, self.key_log);
        // Nothing is too many for a node without names.
        let _ = node.set_gate(None, self.gate);
        let tap = Tap::new(Arc::clone(node.clock()));
        let background = match manual {
            Some(_) => None,
            None => Some(Background::start(&node).map_err(StackError::Thread)?),
        };
        let threads = background.is_some();
        record!(node.panics(), Stack, Info, [threads: threads], "stack started");
        let handlers = Handlers::new(node.limits().handlers, node.limits().irm.backlog);
        let shims = Mutex::new(Vec::new());
        let (linger, checksum, stream_packet) = (self.linger, self.checksum, self.stream_packet);
        let security = Mutex::new(Held::new(security));
        let stack = Stack {
            shared: Arc::new(Shared {
                node,
                background,
                manual,
                shims,
                tap,
                linger,
                stream_packet,
                checksum,
                handlers,
                security,
            }),
        };
        if let Some(directory) = self.security_dir {
            stack.load_security(directory)?;
        }
        Ok(stack)
    }
}

/// Leaves out the seed, which all keys come from.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .field("seeded", &self.seed.is_some())
            .field("polled", &self.polled.is_some())
            .field("pool", &self.pool)
            .field("security", &self.security)
            .field("crypto", &self.crypto)
            .field("congestion", &self.congestion)
            .field("linger", &self.linger)
            .field("stream_packet", &self.stream_packet)
            .field("checksum", &self.checksum)
            .field("key_log", &self.key_log.is_some())
            .field("gate", &self.gate.is_some())
            .field("security_dir", &self.security_dir)
            .field("demand", &self.demand)
            .finish()
    }
}
