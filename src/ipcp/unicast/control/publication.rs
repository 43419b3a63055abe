//! Publication: what the machines put out goes where it is wanted.

use alloc::sync::Arc;

use super::Control;
use super::machines::Output;
use crate::base::journal::record;
use crate::base::time::Instant;
use crate::directory;
use crate::flow::WriteError;
use crate::types::id::N1FlowId;
use crate::wire::dt::DIRECTORY;
use crate::wire::{dht, link_state};

impl Control {
    /// Passes on one thing that a machine has put out; `false` if there was none.
    pub(super) fn pass_on(&self, now: Instant) -> bool {
        let (output, next) = {
            let mut machines = self.machines.lock();
            let room = |to| self.data.mtu_to(to, DIRECTORY);
            (machines.poll_output(now, || self.data.neighbours(), room), machines.next_deadline())
        };
        if let (None, Some(at)) = (&output, next) {
            self.shared.alarm.set(at);
        }
        match output {
            None => return false,
            Some(Output::Computation(computation)) => {
                // Asks the policy, which may be a user's own, and so may look at this member.
                let computed = computation.run();
                self.machines.lock().routing.handle_computed(now, computed);
            }
            Some(Output::Routes) => {
                self.publish_table();
                self.flows.tell_ways(now);
            }
            Some(Output::LinkState(to, updates)) => self.send_link_state(to, &updates),
            Some(Output::Directory(to, message)) => {
                // Before it is sent: the answer may be faster than we are.
                if let Some(cookie) = dht::question(&message) {
                    self.asked.lock().note(now, cookie);
                }
                if !self.data.originate_message(now, to, DIRECTORY, &message) {
                    self.machines.lock().directory.unreachable(now, to);
                }
            }
            Some(Output::Found(directory::Event::LookupDone { hash, addresses, effort }, wakers)) => {
                let (ipcp, found, asked) = (&self.shared.info.name, addresses.len(), effort.requests);
                record!(
                    self.panics, Lookup, Debug, [ipcp = ipcp, hash = hash, found: found, requests: asked],
                    "name with hash {hash} found at {found} members, with {asked} requests"
                );
                self.counters.lookups.count();
                self.counters.lookup_rounds.add(effort.rounds.into());
                self.counters.lookup_questions.add(effort.requests.into());
                self.panics.wake_all(wakers);
            }
        }
        true
    }

    fn send_link_state(&self, to: N1FlowId, updates: &[u8]) {
        let endpoint = self.managements.read().get(&to).map(|m| Arc::clone(&m.endpoint));
        let Some(endpoint) = endpoint else { return };
        // What cannot be sent is lost, as on the way: it will be repeated.
        if let Err(WriteError::TooLarge { max, .. }) = endpoint.write(updates) {
            // It takes less than it did. The next packets are made for that.
            self.machines.lock().routing.limit_packets(to, max);
            for packet in link_state::packets(updates, max) {
                let _ = endpoint.write(packet);
            }
        }
    }

    /// Makes the forwarding table that routes and adjacencies say.
    pub(super) fn publish_table(&self) {
        if self.shared.is_down() {
            // The last one serves for those packets that are on their way here.
            return;
        }
        {
            let _one_at_a_time = self.publishing.lock();
            let routes = Arc::clone(self.machines.lock().routing.routes());
            self.data.follow(&routes);
        }
        self.counters.tables.count();
        let (ipcp, neighbours) = (&self.shared.info.name, self.data.len());
        record!(
            self.panics, Routes, Debug, [ipcp = ipcp, neighbours: neighbours],
            "forwarding table of {ipcp:?} made anew, over {neighbours} adjacencies"
        );
    }
}
