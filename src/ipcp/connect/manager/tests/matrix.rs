//! The states of a wanted connection as a table: what becomes of each by every event. It is made by driving managers, and
//! compared with what is written down here.

use alloc::format;
use alloc::string::String;

use super::*;

const NOW: Instant = T0;

/// States of the data-transfer connection to node-a. `None` if it is not wanted.
fn states() -> [&'static str; 5] {
    ["Unwanted", "Held", "Waiting", "Trying", "Up"]
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Want,
    Unwant,
    Poll,
    Failed,
    Unanswered,
    CameUp,
    WentDown,
    ManagementUp,
    ManagementUnwanted,
}

const EVENTS: [Event; 9] = [
    Event::Want,
    Event::Unwant,
    Event::Poll,
    Event::Failed,
    Event::Unanswered,
    Event::CameUp,
    Event::WentDown,
    Event::ManagementUp,
    Event::ManagementUnwanted,
];

const FLOW: N1FlowId = N1FlowId(1);
const OTHER: N1FlowId = N1FlowId(2);

/// A manager whose connection is in a state, the attempt at it if there is one, and that at management.
struct Driven {
    manager: Manager,
    attempt: AttemptId,
    management: AttemptId,
}

impl Driven {
    fn into(state: &str) -> Self {
        let mut manager = manager();
        want(&mut manager, "node-a", Management);
        let management = started(&mut manager, NOW, "node-a", Management);
        if state != "Unwanted" {
            want(&mut manager, "node-a", DataTransfer);
        }
        let mut driven = Self { manager, attempt: AttemptId(99), management };
        if ["Waiting", "Trying", "Up"].contains(&state) {
            driven.manager.came_up(NOW, management, OTHER, PEER).unwrap();
        }
        if ["Trying", "Up"].contains(&state) {
            driven.attempt = started(&mut driven.manager, NOW, "node-a", DataTransfer);
        }
        if state == "Up" {
            driven.manager.came_up(NOW, driven.attempt, FLOW, PEER).unwrap();
        }
        assert_eq!(driven.state(), state);
        driven
    }

    fn happen(&mut self, event: Event) {
        let (manager, to) = (&mut self.manager, way("node-a"));
        match event {
            Event::Want => want(manager, "node-a", DataTransfer),
            Event::Unwant => drop(manager.unwant(NOW, &to, DataTransfer)),
            Event::Poll => drop(manager.poll_action(NOW)),
            Event::Failed => manager.attempt_failed(NOW, self.attempt),
            Event::Unanswered => manager.attempt_unanswered(NOW, self.attempt),
            Event::CameUp => drop(manager.came_up(NOW, self.attempt, FLOW, PEER)),
            Event::WentDown => drop(manager.went_down(NOW, FLOW)),
            Event::ManagementUp => drop(manager.came_up(NOW, self.management, OTHER, PEER)),
            Event::ManagementUnwanted => drop(manager.unwant(NOW, &to, Management)),
        }
    }

    fn state(&self) -> &'static str {
        match self.manager.state(&way("node-a"), DataTransfer) {
            None => "Unwanted",
            Some(State::Held) => "Held",
            Some(State::Waiting(_)) => "Waiting",
            Some(State::Trying(..)) => "Trying",
            Some(State::Up(..)) => "Up",
        }
    }

    /// Returns the actions that the manager asks for.
    fn actions(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..3 {
            text += match self.manager.poll_action(NOW) {
                Some(Action::Start { .. }) => " start",
                Some(Action::Abandon(_)) => " abandon",
                Some(Action::Close(_)) => " close",
                None => break,
            };
        }
        text
    }
}

/// Returns the outcome: the next state, and the actions.
fn after(state: &str, event: Event) -> String {
    let mut driven = Driven::into(state);
    driven.happen(event);
    let next = driven.state();
    let actions = driven.actions();
    format!("{}{actions}", if next == state { "=" } else { next })
}

fn matrix() -> String {
    let row = |head: &str, cells: [String; 5]| {
        let cells = cells.map(|cell| format!("{cell:<23}")).concat();
        format!("{head:<20}{cells}").trim_end().to_string() + "\n"
    };
    let mut text = String::from("\n") + &row("", states().map(String::from));
    for event in EVENTS {
        text += &row(&format!("{event:?}"), states().map(|state| after(state, event)));
    }
    text
}

/// Each cell: the state that follows, `=` if it is the same, and what there is to do then.
const TABLE: &str = "
                    Unwanted               Held                   Waiting                Trying                 Up
Want                Held                   =                      = start                =                      =
Unwant              =                      Unwanted               Unwanted               Unwanted abandon       Unwanted close
Poll                =                      =                      Trying                 =                      =
Failed              =                      =                      = start                Waiting                =
Unanswered          =                      =                      = start                Waiting                =
CameUp              =                      =                      = start                Up                     =
WentDown            =                      =                      = start                =                      Waiting
ManagementUp        =                      Waiting start          = start                =                      =
ManagementUnwanted  = abandon              Waiting abandon start  = close start          = close                = close
";

#[test]
fn transitions_of_a_connection_match_the_table() {
    let found = matrix();
    assert!(found == TABLE, "found:\n{found}");
}
