//! The life of an endpoint as a table: every state, and what becomes of it by every event. It is made by driving endpoints,
//! and compared with what is written down here.

use super::*;

const STATES: [State; 5] = [State::Pending, State::Active, State::Lingering, State::Quiet, State::Released];

/// What the application, the layer below, the peer and time can do.
#[derive(Clone, Copy, Debug)]
enum Does {
    Activate,
    Write,
    Shut,
    Close,
    Reset,
    Abort,
    Leave,
    LayerIsDown,
    LayerIsLeft,
    PeerIsSilent,
    PeerAnswers,
    PeerCloses,
    PeerResets,
    TimePasses,
}

const EVENTS: [Does; 14] = [
    Does::Activate,
    Does::Write,
    Does::Shut,
    Does::Close,
    Does::Reset,
    Does::Abort,
    Does::Leave,
    Does::LayerIsDown,
    Does::LayerIsLeft,
    Does::PeerIsSilent,
    Does::PeerAnswers,
    Does::PeerCloses,
    Does::PeerResets,
    Does::TimePasses,
];

/// What the flow is like.
#[derive(Clone, Copy, Debug)]
enum Flow {
    /// Reliable, between two of our own kind, who tell each other when they go.
    Told,
    /// Reliable, to a reference.
    Untold,
    /// Without FRCT, to a reference.
    Raw,
}

/// Both ends of a flow.
struct Pair {
    flow: Flow,
    near: World,
    far: World,
}

const LINGER: Duration = Duration::from_secs(5);

impl Pair {
    fn new(flow: Flow) -> Self {
        let pair = Self { flow, near: idle(), far: idle() };
        pair.activate(&pair.far, Side::Server);
        pair
    }

    fn activate(&self, world: &World, side: Side) {
        let peering = || Peering::new(side, 600_000, &digest(Digest::Sha256, &[b"a request"]));
        let (qos, peering) = match self.flow {
            Flow::Told => (DATA, Some(peering())),
            Flow::Untold => (DATA, None),
            Flow::Raw => (RAW, None),
        };
        let qos = QosSpec { timeout: 600_000, ..qos };
        let now = world.clock.now();
        let port = Arc::clone(&world.wire) as Arc<dyn Port>;
        world.endpoint.activate(now, port, params(qos, peering, Opening::default()));
    }

    /// Time passes in steps, in which nothing or everything that was sent arrives.
    fn pass(&self, steps: usize, step: Duration, arrives: bool) {
        for _ in 0..steps {
            for world in [&self.near, &self.far] {
                world.clock.advance_to(world.clock.now() + step);
                world.endpoint.handle_timeout(world.clock.now());
            }
            for (from, to) in [(&self.near, &self.far), (&self.far, &self.near)] {
                let sent = core::mem::take(&mut *from.wire.sent.lock());
                if arrives {
                    to.endpoint.handle_packets(to.clock.now(), sent.iter().map(|pkt| PacketBuf::copy_of(pkt)));
                    to.endpoint.handle_tick(to.clock.now());
                }
            }
        }
    }

    fn exchange(&self) {
        self.pass(20, Duration::from_millis(5), true);
    }

    /// Has this end in a state. `None`: flows like this are never in it.
    fn enter(&self, state: State) -> Option<()> {
        let e = &self.near.endpoint;
        if state != State::Pending {
            self.activate(&self.near, Side::Client);
            self.exchange();
        }
        match state {
            State::Pending | State::Active => {}
            State::Lingering => {
                let _ = e.write(b"x");
                e.close(LINGER);
            }
            State::Quiet => e.reset(),
            State::Released => e.abort(),
        }
        (e.state() == state).then_some(())
    }

    fn happen(&self, event: Does) {
        let e = &self.near.endpoint;
        match event {
            Does::Activate => self.activate(&self.near, Side::Client),
            Does::Write => drop(e.write(b"y")),
            Does::Shut => e.shut(),
            Does::Close => e.close(LINGER),
            Does::Reset => e.reset(),
            Does::Abort => e.abort(),
            Does::Leave => e.leave(),
            Does::LayerIsDown => e.mark_down(Event::Down),
            Does::LayerIsLeft => e.mark_down(Event::Deallocated),
            Does::PeerIsSilent => e.mark_down(Event::PeerGone),
            Does::PeerAnswers => self.exchange(),
            Does::PeerCloses => {
                self.far.endpoint.close(LINGER);
                self.exchange();
            }
            Does::PeerResets => {
                self.far.endpoint.reset();
                self.exchange();
            }
            Does::TimePasses => self.pass(30, Duration::from_secs(1), false),
        }
    }
}

/// The state that follows; `=` if it is the same, and whether the flow is useless then, which is no state of its life.
fn after(flow: Flow, state: State, event: Does) -> Option<String> {
    let pair = Pair::new(flow);
    pair.enter(state)?;
    let ended = |e: &Endpoint| {
        let inner = e.inner.lock();
        inner.is_dead() || inner.pipe.peer_ending().is_some()
    };
    pair.happen(event);
    let next = pair.near.endpoint.state();
    let name = if next == state { "=".into() } else { format!("{next:?}") };
    Some(if next == State::Active && ended(&pair.near.endpoint) { format!("{name} ended") } else { name })
}

fn matrix() -> String {
    let mut text = String::new();
    for flow in [Flow::Told, Flow::Untold, Flow::Raw] {
        text += &format!("{:<13}", format!("{flow:?}"));
        text += &STATES.map(|state| format!("{:<11}", format!("{state:?}"))).concat();
        text = text.trim_end().into();
        text.push('\n');
        for event in EVENTS {
            let row = STATES.map(|state| format!("{:<11}", after(flow, state, event).unwrap_or_else(|| "-".into())));
            let row = format!("{:<13}{}", format!("{event:?}"), row.concat());
            text += row.trim_end();
            text.push('\n');
        }
    }
    text
}

/// A change of this table is a change of what programs see.
const LIFE: &str = "\
Told         Pending    Active     Lingering  Quiet      Released
Activate     Active     =          =          =          =
Write        =          =          =          =          =
Shut         =          =          =          =          =
Close        Released   Lingering  =          =          =
Reset        Released   Quiet      =          =          =
Abort        Released   Released   Released   Released   =
Leave        Released   Released   Released   Released   =
LayerIsDown  =          = ended    Released   Released   =
LayerIsLeft  =          = ended    Released   Released   =
PeerIsSilent =          = ended    Released   Released   =
PeerAnswers  =          =          Released   Released   =
PeerCloses   =          = ended    Quiet      Released   =
PeerResets   =          = ended    Quiet      Released   =
TimePasses   =          =          Released   Released   =
Untold       Pending    Active     Lingering  Quiet      Released
Activate     Active     =          =          -          =
Write        =          =          =          -          =
Shut         =          =          =          -          =
Close        Released   Released   =          -          =
Reset        Released   Released   =          -          =
Abort        Released   Released   Released   -          =
Leave        Released   Released   Released   -          =
LayerIsDown  =          = ended    Released   -          =
LayerIsLeft  =          = ended    Released   -          =
PeerIsSilent =          = ended    Released   -          =
PeerAnswers  =          =          Released   -          =
PeerCloses   =          =          =          -          =
PeerResets   =          =          =          -          =
TimePasses   =          =          Released   -          =
Raw          Pending    Active     Lingering  Quiet      Released
Activate     Active     =          -          -          =
Write        =          =          -          -          =
Shut         =          =          -          -          =
Close        Released   Released   -          -          =
Reset        Released   Released   -          -          =
Abort        Released   Released   -          -          =
Leave        Released   Released   -          -          =
LayerIsDown  =          = ended    -          -          =
LayerIsLeft  =          = ended    -          -          =
PeerIsSilent =          = ended    -          -          =
PeerAnswers  =          =          -          -          =
PeerCloses   =          =          -          -          =
PeerResets   =          =          -          -          =
TimePasses   =          =          -          -          =
";

#[test]
fn the_life_of_an_endpoint_is_as_written_down() {
    let found = matrix();
    assert!(found == LIFE, "found:\n{found}");
}
