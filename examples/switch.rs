//! An Ethernet switch between network interfaces.

#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use common::{Result, say, stop};
use o7s::device::{Bridge, Frames, Mac, PacketSocket};
use o7s::time::{Clock as _, OsClock};

/// Passes Ethernet frames between network interfaces as a switch does: it learns at which of them addresses are, tells what
/// it has learned, and at the end how many frames there were.
#[derive(Parser, Debug)]
#[command(after_help = common::after_help("\
Needs Linux and the right CAP_NET_RAW, and makes the interfaces promiscuous. There is no spanning tree: do not connect
switches in a ring. The host that it runs on stays outside: it does not reach the others through these interfaces.

Traffic of the kernel over veth (TCP, UDP) has its checksums left to hardware that is not there; such frames are dropped, and
counted as damaged or oversized: \"ethtool -K DEV tx off tso off gro off\" at its hosts. Ethernet layers need nothing.

Example, with an interface in each of two namespaces:
  ip link add va type veth peer name a0 netns a; ip link add vb type veth peer name b0 netns b; ip link set va up ...
  switch va vb & ip netns exec b oping --listen --eth-dix b0 & ip netns exec a oping -n oping --eth-dix a0"))]
struct Options {
    /// The interfaces, two at least
    #[arg(value_name = "DEV", required = true, num_args = 2..)]
    devices: Vec<String>,
}

/// The interval of looks at what was learned.
const LOOK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| run(&options.devices))
}

fn run(names: &[String]) -> Result<bool> {
    if let Some(twice) =
        names.iter().enumerate().find_map(|(i, name)| names.iter().take(i).find(|other| *other == name))
    {
        return Err(format!("{twice} is given twice: a frame would come back to where it is from").into());
    }
    let devices: Vec<_> = names.iter().map(|name| PacketSocket::all(name)).collect::<std::io::Result<_>>()?;
    let bridge = Bridge::new(names.iter().zip(&devices).map(|(name, device)| (name, Arc::clone(device) as _)));
    let (clock, main, ends) = (OsClock::new(), thread::current(), devices.clone());
    stop::on_request(move || {
        ends.iter().for_each(|device| device.interrupt());
        main.unpark();
    });
    say!("Switching between {}.", names.join(", "));
    thread::scope(|scope| {
        for (port, device) in devices.iter().enumerate() {
            let (bridge, clock) = (&bridge, &clock);
            scope.spawn(move || {
                while !stop::requested() {
                    if bridge.poll(clock.now(), port) == 0 {
                        device.wait(LOOK);
                    }
                }
            });
        }
        let mut told = BTreeMap::new();
        while !stop::requested() {
            tell(&bridge.learned(clock.now()), &mut told);
            thread::park_timeout(LOOK);
        }
        tell(&bridge.learned(clock.now()), &mut told);
    });
    say!("{bridge}");
    Ok(true)
}

/// Prints what has changed.
fn tell(learned: &[(Mac, &str)], told: &mut BTreeMap<Mac, String>) {
    let is_known = |mac: &Mac| learned.binary_search_by_key(mac, |(known, _)| *known).is_ok();
    told.retain(|mac, at| {
        let stays = is_known(mac);
        if !stays {
            say!("{mac} is no longer at {at}");
        }
        stays
    });
    for (mac, at) in learned {
        if told.get(mac).is_none_or(|before| before != at) {
            say!("{mac} is at {at}");
            told.insert(*mac, (*at).to_owned());
        }
    }
}
