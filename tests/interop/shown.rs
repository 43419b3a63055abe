//! The number of answers that a client of the reference shows on best-effort flows: from a server of ours, and from its own.
//!
//! Some that reach its host are never shown, the more of them the longer its threads wait for a processor. So the client
//! gets one for all its threads, and where other programs run beside the test, `chrt -r 1` before the command that starts
//! it has them wait; both servers are asked in turn under the same conditions.

use crate::net::Net;
use crate::{Bench, Combination, Load, PING_LIMIT, PING_SIZE, SERIAL, Tool, Who, exchange, ping_replies, say};

const RUNS: usize = 40;
const ANSWERS: usize = 5;
/// Of a hundred answers, those that have to be shown.
const MUST: usize = 95;

/// The runs with one server.
struct Row {
    server: Who,
    runs: usize,
    /// Runs without a flow: its allocations fail now and then.
    unused: usize,
    /// Answers on the wire, and those of them that were shown.
    sent: usize,
    shown: usize,
    /// Runs in which all were.
    whole: usize,
}

impl Row {
    fn add(&mut self, bench: &Bench) {
        let net = Net::start(&bench.view).expect("two hosts can be made");
        let row = Combination {
            client: Who::Reference,
            server: self.server,
            load: Load::Ping("best"),
            encrypt: None,
            family: crate::net::Family::V4,
        };
        let count = ANSWERS.to_string();
        let tool = Tool {
            name: "oping",
            client: &["-n", "oping", "-c", &count, "-i", "50ms", "-q", "best"],
            reference_server: &["-l"],
            limit: PING_LIMIT,
            size: PING_SIZE,
            pinned: true,
        };
        let Some(run) = exchange(bench, &net, row, &tool, |_| true).ok().filter(|run| run.seen.there > 0) else {
            self.unused += 1;
            return;
        };
        let shown = ping_replies(&run.client.output);
        self.runs += 1;
        self.sent += run.seen.back;
        self.shown += shown;
        self.whole += usize::from(shown == ANSWERS);
    }

    fn is_enough(&self) -> bool {
        self.runs >= RUNS
    }
}

#[test]
#[ignore = "a measurement, of minutes"]
fn best_effort_from_ours_and_from_a_reference() {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    let mut rows =
        [Who::Ours, Who::Reference].map(|server| Row { server, runs: 0, unused: 0, sent: 0, shown: 0, whole: 0 });
    while rows.iter().any(|row| !row.is_enough() && row.unused < RUNS) {
        for row in rows.iter_mut().filter(|row| !row.is_enough() && row.unused < RUNS) {
            row.add(&bench);
        }
    }
    for Row { server, runs, unused, sent, shown, whole } in &rows {
        let all = runs * ANSWERS;
        say(&format!(
            "interop: reference client -> {server} server | best | {runs} runs: {shown} of {all} answers shown, {sent} on \
             the wire, {whole} runs whole; {unused} more runs without a flow"
        ));
    }
    let [ours, _] = rows;
    assert!(ours.is_enough(), "no flow to a server of ours in {} runs", ours.unused);
    assert!(ours.sent >= ours.runs * ANSWERS, "answers of ours are missing on the wire");
    assert!(ours.shown * 100 >= ours.runs * ANSWERS * MUST, "fewer than {MUST} % shown");
}
