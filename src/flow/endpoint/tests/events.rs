//! Every event of a flow reaches a user somewhere.

use crate::flow::Event;

/// Where a set of flows is told each event: the file under `tests`, its text, the function. An event without a line here does
/// not compile.
macro_rules! told {
    ($($event:ident => $file:literal, $test:literal;)*) => {
        const ALL: &[Event] = &[$(Event::$event),*];

        fn told(event: Event) -> (&'static str, &'static str, &'static str) {
            match event {
                $(Event::$event => ($file, include_str!(concat!("../../../../tests/", $file)), $test),)*
            }
        }
    };
}

told! {
    Packet => "api/asynchronous.rs", "tasks_wait_for_a_set_of_flows";
    Writable => "lifecycle/flows.rs", "a_set_reports_room_after_a_refused_write";
    Down => "ethernet/changes.rs", "flows_are_over_when_the_address_changes_and_new_ones_work";
    Impaired => "ethernet/changes.rs", "a_link_that_goes_down_and_up_is_told_to_flows_and_loses_nothing_of_a_reliable_one";
    Restored => "ethernet/changes.rs", "a_link_that_goes_down_and_up_is_told_to_flows_and_loses_nothing_of_a_reliable_one";
    Ended => "closing/threaded.rs", "every_ending_is_an_event";
    Deallocated => "closing/threaded.rs", "every_ending_is_an_event";
    PeerGone => "lifecycle/flows.rs", "a_peer_that_vanishes_is_reported_within_the_timeout";
    Acceptable => "api/sets.rs", "a_set_waits_for_listeners_and_flows";
}

#[test]
fn every_event_is_told_in_a_test_of_the_whole() {
    for event in ALL {
        let (file, text, test) = told(*event);
        let start = text.find(&format!("#[test]\nfn {test}() {{")).unwrap_or_else(|| panic!("{file} has no {test}"));
        let body = text[start..].split_once("\n}\n").unwrap().0;
        assert!(body.contains("FlowSet::new()"), "{test} of {file} has no set");
        assert!(body.contains(&format!("Event::{event:?}")), "{test} of {file} does not expect {event:?}");
    }
}
