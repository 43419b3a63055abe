mod matrix;

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

use Component::{DataTransfer, Management};

const PEER: Address = Address(7);
const T0: Instant = Instant::from_millis(1_000);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn name(name: &str) -> Name {
    name.parse().unwrap()
}

/// The way over whichever layer knows the name.
fn way(destination: &str) -> Towards {
    name(destination).into()
}

fn manager() -> Manager {
    Manager::new(Config::default(), Rng::from_seed([7; 32]))
}

fn want(manager: &mut Manager, destination: &str, component: Component) {
    manager.want(T0, Want::new(name(destination), component)).unwrap();
}

/// Returns the attempt that is due now, for this destination and component.
fn started(manager: &mut Manager, now: Instant, destination: &str, component: Component) -> AttemptId {
    match manager.poll_action(now) {
        Some(Action::Start { attempt, want }) => {
            assert_eq!((want.way.destination.as_str(), want.component), (destination, component));
            attempt
        }
        other => panic!("{other:?}"),
    }
}

/// A manager with both connections to node-a up, over the flows 1 and 2.
fn connected() -> Manager {
    let mut manager = manager();
    for (component, flow) in [(Management, 1), (DataTransfer, 2)] {
        want(&mut manager, "node-a", component);
        let attempt = started(&mut manager, T0, "node-a", component);
        manager.came_up(T0, attempt, N1FlowId(flow), PEER).unwrap();
    }
    manager
}

#[test]
fn unanswered_attempts_are_repeated_soon() {
    let mut manager = Manager::new(Config::default(), Rng::from_seed([3; 32]));
    manager.want(T0, Want::new("node-a".parse().unwrap(), Management)).unwrap();
    let mut now = T0;
    for _ in 0..20 {
        let Some(Action::Start { attempt, .. }) = manager.poll_action(now) else { panic!("nothing to do") };
        manager.attempt_unanswered(now, attempt);
        let next = manager.next_deadline().unwrap();
        assert!(next > now && next <= now + Config::default().unanswered);
        now = next;
    }
}

#[test]
fn management_comes_first() {
    let mut manager = manager();
    want(&mut manager, "node-a", Management);
    want(&mut manager, "node-a", DataTransfer);
    let attempt = started(&mut manager, T0, "node-a", Management);
    assert_eq!(manager.poll_action(T0), None);
    assert_eq!(manager.state(&way("node-a"), DataTransfer), Some(State::Held));
    manager.attempt_failed(T0, attempt);
    assert_eq!(manager.poll_action(T0), None);

    let now = manager.next_deadline().unwrap();
    let attempt = started(&mut manager, now, "node-a", Management);
    manager.came_up(now, attempt, N1FlowId(1), PEER).unwrap();
    let attempt = started(&mut manager, now, "node-a", DataTransfer);
    manager.came_up(now, attempt, N1FlowId(2), PEER).unwrap();
    assert_eq!((manager.poll_action(now), manager.next_deadline()), (None, None));
}

/// Each layer has connections of its own, that wait for the management of their own way and come back alone.
#[test]
fn a_neighbour_is_connected_over_each_layer() {
    let mut manager = manager();
    let ways = [None, Some(IpcpId(1)), Some(IpcpId(2))].map(|over| Towards { over, ..way("node-a") });
    for component in [Management, DataTransfer] {
        for way in &ways {
            manager.want(T0, Want { way: way.clone(), component, qos: QosSpec::RAW }).unwrap();
        }
    }
    assert_eq!(manager.ways_to(&name("node-a")), BTreeSet::from(ways.clone()));
    let mut flow = 0;
    let mut connect = |manager: &mut Manager, way: &Towards, component| {
        let Some(Action::Start { attempt, want }) = manager.poll_action(T0) else { panic!("nothing to do") };
        assert_eq!((&want.way, want.component), (way, component));
        flow += 1;
        manager.came_up(T0, attempt, N1FlowId(flow), PEER).unwrap();
    };
    for way in &ways {
        for component in [Management, DataTransfer] {
            connect(&mut manager, way, component);
        }
    }
    assert_eq!((manager.connections().count(), manager.poll_action(T0)), (6, None));
    // The second way fails.
    for flow in [3, 4] {
        manager.went_down(T0, N1FlowId(flow));
    }
    for (i, way) in ways.iter().enumerate() {
        let is_up = |component| matches!(manager.state(way, component), Some(State::Up(..)));
        assert_eq!([Management, DataTransfer].map(is_up), [i != 1; 2]);
    }
    assert!(manager.unwant(T0, &ways[1], Management) && manager.unwant(T0, &ways[1], DataTransfer));
    assert_eq!((manager.next_deadline(), manager.connections().count()), (None, 4));
}

#[test]
fn data_transfer_alone_does_not_wait() {
    let mut manager = manager();
    want(&mut manager, "b1", DataTransfer);
    started(&mut manager, T0, "b1", DataTransfer);
    // Nor does it when management is not wanted any more.
    want(&mut manager, "b2", Management);
    want(&mut manager, "b2", DataTransfer);
    let attempt = started(&mut manager, T0, "b2", Management);
    manager.unwant(T0, &way("b2"), Management);
    assert_eq!(manager.poll_action(T0), Some(Action::Abandon(attempt)));
    started(&mut manager, T0, "b2", DataTransfer);
}

#[test]
fn lost_connections_are_restored_separately() {
    let mut manager = connected();
    manager.went_down(T0, N1FlowId(1));
    manager.went_down(T0, N1FlowId(2));
    let far = T0 + secs(60);
    started(&mut manager, far, "node-a", Management);
    started(&mut manager, far, "node-a", DataTransfer);
}

#[test]
fn pauses_grow_until_a_connection_is_stable() {
    let mut manager = manager();
    want(&mut manager, "node-a", Management);
    let mut now = T0;
    let mut pauses = vec![];
    for flow in 0..12 {
        let attempt = started(&mut manager, now, "node-a", Management);
        // It comes up and is lost at once: that is no better than failing.
        manager.came_up(now, attempt, N1FlowId(flow), PEER).unwrap();
        manager.went_down(now, N1FlowId(flow));
        let next = manager.next_deadline().unwrap();
        assert_eq!(manager.poll_action(Instant::from_nanos(next.as_nanos() - 1)), None);
        pauses.push((next - now).as_millis());
        now = next;
    }
    assert!(pauses[0] <= 100 && pauses[11] >= 15_000, "{pauses:?}");

    let attempt = started(&mut manager, now, "node-a", Management);
    manager.came_up(now, attempt, N1FlowId(100), PEER).unwrap();
    let later = now + secs(10);
    manager.went_down(later, N1FlowId(100));
    assert!(manager.next_deadline().unwrap() - later <= Duration::from_millis(100));
}

#[test]
fn unwanted_connections_are_closed() {
    let mut manager = connected();
    assert!(manager.unwant(T0, &way("node-a"), DataTransfer));
    assert_eq!(manager.next_deadline(), Some(Instant::ZERO));
    assert_eq!(manager.poll_action(T0), Some(Action::Close(N1FlowId(2))));
    assert!(!manager.unwant(T0, &way("node-a"), DataTransfer));
    assert!(!manager.unwant(T0, &way("node-z"), Management));
    assert_eq!(manager.went_down(T0, N1FlowId(2)), None);
    assert_eq!(manager.connections().count(), 1);
    assert_eq!(manager.poll_action(T0 + secs(100)), None);
}

#[test]
fn reports_on_unwanted_attempts_are_ignored() {
    let mut manager = manager();
    want(&mut manager, "node-a", Management);
    let attempt = started(&mut manager, T0, "node-a", Management);
    manager.unwant(T0, &way("node-a"), Management);
    assert_eq!(manager.poll_action(T0), Some(Action::Abandon(attempt)));
    assert_eq!(manager.came_up(T0, attempt, N1FlowId(1), PEER), Err(ManagerError::Unwanted));
    manager.attempt_failed(T0, attempt);
    // Wanted again, it is another attempt.
    want(&mut manager, "node-a", Management);
    assert_eq!(manager.came_up(T0, attempt, N1FlowId(1), PEER), Err(ManagerError::Unwanted));
    assert_ne!(started(&mut manager, T0, "node-a", Management), attempt);
    assert_eq!(manager.connections().count(), 0);
}

#[test]
fn repeated_requests_count_once() {
    let mut manager = connected();
    want(&mut manager, "node-a", Management);
    want(&mut manager, "node-a", DataTransfer);
    assert_eq!(manager.poll_action(T0 + secs(100)), None);
    // But it ends a pause, and changes the quality of service.
    manager.went_down(T0, N1FlowId(2));
    assert_eq!(manager.poll_action(T0), None);
    manager.want(T0, Want { qos: QosSpec::VOICE, ..Want::new(name("node-a"), DataTransfer) }).unwrap();
    let Some(Action::Start { want, .. }) = manager.poll_action(T0) else { panic!("nothing to do") };
    assert_eq!(want.qos, QosSpec::VOICE);
}

#[test]
fn peer_made_connections_are_recorded_but_not_retried() {
    let mut manager = manager();
    manager.accepted(T0, N1FlowId(1), DataTransfer, PEER).unwrap();
    // Several ways to one neighbour are welcome.
    manager.accepted(T0, N1FlowId(2), DataTransfer, PEER).unwrap();
    let expected = Connection { component: DataTransfer, peer: PEER, way: None, since: T0 };
    assert_eq!(manager.connections().collect::<Vec<_>>(), [(N1FlowId(1), &expected), (N1FlowId(2), &expected)]);
    assert_eq!(manager.went_down(T0, N1FlowId(1)), Some(expected));
    assert_eq!((manager.poll_action(T0 + secs(100)), manager.next_deadline()), (None, None));
}

#[test]
fn connections_and_entries_are_limited() {
    let config = Config { max_wanted: 2, max_connections: 1, ..Config::default() };
    let mut manager = Manager::new(config, Rng::from_seed([7; 32]));
    want(&mut manager, "node-a", Management);
    want(&mut manager, "node-b", Management);
    let third = manager.want(T0, Want::new(name("node-c"), Management));
    assert_eq!(third, Err(ManagerError::Full(2)));
    let a = started(&mut manager, T0, "node-a", Management);
    let b = started(&mut manager, T0, "node-b", Management);
    manager.came_up(T0, a, N1FlowId(1), PEER).unwrap();
    assert_eq!(manager.came_up(T0, b, N1FlowId(2), PEER), Err(ManagerError::Full(1)));
    assert_eq!(manager.accepted(T0, N1FlowId(3), Management, PEER), Err(ManagerError::Full(1)));
    // It is tried again, there may be room then.
    started(&mut manager, T0 + secs(1), "node-b", Management);
}

/// Inputs of a manager; numbers choose among the existing entries.
#[derive(Clone, Copy, Debug)]
enum Step {
    Want(u8, bool),
    Unwant(u8, bool),
    Fail(u8),
    Up(u8),
    Down(u8),
    Accept,
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<(u8, bool)>().prop_map(|(n, management)| Step::Want(n % 4, management)),
        any::<(u8, bool)>().prop_map(|(n, management)| Step::Unwant(n % 4, management)),
        any::<u8>().prop_map(Step::Fail),
        any::<u8>().prop_map(Step::Up),
        any::<u8>().prop_map(Step::Down),
        prop::strategy::Just(Step::Accept),
        any::<u16>().prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: flows and attempts that the manager knows are those it was told of, and once everything
    /// succeeds, all that is wanted stands, and nothing else that was made here.
    #[test]
    fn wanted_connections_are_established_in_the_end(steps in prop::collection::vec(step(), 0..200)) {
        let mut manager = manager();
        let (mut now, mut flows, mut next_flow) = (T0, BTreeSet::new(), 0);
        let mut attempts = vec![];
        let pick = |n: u8, len: usize| usize::from(n) % len.max(1);
        for step in steps {
            let component = |management| if management { Management } else { DataTransfer };
            match step {
                Step::Want(n, management) => {
                    manager.want(now, Want::new(name(&n.to_string()), component(management))).unwrap();
                }
                Step::Unwant(n, management) => {
                    manager.unwant(now, &way(&n.to_string()), component(management));
                }
                Step::Fail(n) if !attempts.is_empty() => {
                    manager.attempt_failed(now, attempts.swap_remove(pick(n, attempts.len())));
                }
                Step::Up(n) if !attempts.is_empty() => {
                    next_flow += 1;
                    let attempt = attempts.swap_remove(pick(n, attempts.len()));
                    if manager.came_up(now, attempt, N1FlowId(next_flow), PEER).is_ok() {
                        flows.insert(N1FlowId(next_flow));
                    }
                }
                Step::Down(n) if !flows.is_empty() => {
                    let flow = *flows.iter().nth(pick(n, flows.len())).unwrap();
                    flows.remove(&flow);
                    prop_assert!(manager.went_down(now, flow).is_some());
                }
                Step::Accept => {
                    next_flow += 1;
                    manager.accepted(now, N1FlowId(next_flow), DataTransfer, PEER).unwrap();
                    flows.insert(N1FlowId(next_flow));
                }
                Step::Wait(ms) => now += Duration::from_millis(ms.into()),
                Step::Fail(_) | Step::Up(_) | Step::Down(_) => {}
            }
            while let Some(action) = manager.poll_action(now) {
                match action {
                    Action::Start { attempt, .. } => attempts.push(attempt),
                    // An attempt may be abandoned that has just ended.
                    Action::Abandon(attempt) => attempts.retain(|known| *known != attempt),
                    Action::Close(flow) => prop_assert!(flows.remove(&flow)),
                }
            }
            let known: BTreeSet<_> = manager.connections().map(|(flow, _)| flow).collect();
            prop_assert_eq!(&known, &flows);
            prop_assert!(manager.next_deadline().is_none_or(|at| at > now));
        }
        // From now on everything succeeds.
        loop {
            for attempt in attempts.drain(..) {
                next_flow += 1;
                manager.came_up(now, attempt, N1FlowId(next_flow), PEER).unwrap();
            }
            while let Some(Action::Start { attempt, .. }) = manager.poll_action(now) {
                attempts.push(attempt);
            }
            match manager.next_deadline() {
                Some(at) => now = at,
                None if attempts.is_empty() => break,
                None => {}
            }
        }
        let up = |entry: &Entry| matches!(entry.state, State::Up(..));
        prop_assert!(manager.wanted.values().all(up));
        let made = manager.connections().filter(|(_, connection)| connection.way.is_some()).count();
        prop_assert_eq!(made, manager.wanted.len());
        prop_assert!(manager.attempts.is_empty());
    }
}
