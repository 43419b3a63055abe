//! Layers on layers: the same kind of layer, raised floor by floor on top of UDP, and what each floor costs.
//!
//! Three stacks stand in a row, each with a member on every floor. A member talks to its neighbours through flows of the
//! floor below, so that a packet of the top floor goes through all of them, down and up again in the middle.

mod common;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use common::{Result, say};
use o7s::resolve::HostTable;
use o7s::sim::{Link, Network};
use o7s::{IpcpHandle, QosSpec, Stack, Udp4, UnicastLayer, aio};

/// Raises unicast layers on top of each other, and pings from one end to the other on every floor.
#[derive(Parser)]
#[command(after_help = "\
Ends with status 0 if every floor was reached, 1 if not, 2 if the options are wrong. All members are in this program, so
that signals end it at once.")]
struct Options {
    /// How many unicast layers to put on top of UDP
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    floors: u8,

    /// How many pings on each floor
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// In virtual time, on links that take 5 ms, instead of on this host's sockets
    #[arg(long)]
    sim: bool,
}

/// What the stacks are called.
const ROW: [&str; 3] = ["left", "middle", "right"];
/// How long the members of a floor may take to learn of each other.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| {
        if options.sim { in_virtual_time(&options) } else { on_this_host(&options) }?;
        Ok(true)
    })
}

fn in_virtual_time(options: &Options) -> Result<()> {
    let net = Network::new(1);
    net.set_default_link(Link::default().latency(Duration::from_millis(5)));
    let hosts: Vec<_> = (1..).zip(ROW).map(|(i, name)| net.host(name).udp4(&format!("10.0.0.{i}")).build()).collect();
    let row = hosts.iter().map(|host| (host.stack().clone(), host.udp4().to_vec())).collect();
    let tower = Tower { row, table: Arc::clone(net.names()) };
    net.block_on(tower.raise_and_measure(options, async |time| net.sleep(time).await))
}

fn on_this_host(options: &Options) -> Result<()> {
    let table = HostTable::new();
    let stack = |_| -> Result<_> {
        let stack = Stack::new()?;
        let ground = stack.udp4(Udp4::bind("127.0.0.1:0").table(&table).system_resolver(false))?;
        Ok((stack, vec![ground]))
    };
    let row = ROW.iter().map(stack).collect::<Result<_>>()?;
    let tower = Tower { row, table };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(tower.raise_and_measure(options, async |time| tokio::time::sleep(time).await))
}

/// The stacks in their row, each with its members from the ground, which is UDP, to the top.
struct Tower {
    row: Vec<(Stack, Vec<IpcpHandle>)>,
    /// Where names of the ground floor are.
    table: Arc<HostTable>,
}

impl Tower {
    async fn raise_and_measure(mut self, options: &Options, sleep: impl AsyncFn(Duration)) -> Result<()> {
        for floor in 1..=options.floors {
            self.raise(floor).await?;
        }
        say!("{:>5}  {:<8} {:>14}  {:>12}", "floor", "layer", "largest packet", "round trip");
        for floor in 0..=options.floors {
            let (largest, rtt) = self.measure(floor, options.count, &sleep).await?;
            let layer = if floor == 0 { "udp4".to_owned() } else { layer_name(floor) };
            say!("{floor:>5}  {layer:<8} {largest:>8} bytes  {:>9.3} ms", rtt.as_secs_f64() * 1e3);
        }
        Ok(())
    }

    /// Puts a layer on top: the first member makes it, the others enroll with the member before them.
    async fn raise(&mut self, floor: u8) -> Result<()> {
        let mut before: Option<String> = None;
        for (name, (stack, members)) in ROW.iter().zip(&mut self.row) {
            let name = format!("{name}.{floor}");
            let below = members.last().ok_or("there is no ground")?;
            if let Some(addr) = below.local_addr() {
                self.table.insert_at(&name.parse()?, addr);
            }
            let builder = stack.unicast(&name).over(below);
            let member = match before {
                None => builder.bootstrap(layer(floor))?,
                Some(neighbour) => {
                    let member = builder.enroll_async(&neighbour).await?;
                    member.connect_async(&neighbour).await?;
                    member
                }
            };
            members.push(member);
            before = Some(name);
        }
        Ok(())
    }

    /// The largest packet of a flow from one end of the row to the other on this floor, and the mean round-trip time.
    async fn measure(&self, floor: u8, count: u32, sleep: impl AsyncFn(Duration)) -> Result<(usize, Duration)> {
        let [(near, _), .., (far, members)] = self.row.as_slice() else { return Err("the row is too short".into()) };
        let member = members.get(usize::from(floor)).ok_or("there is no such floor")?;
        let name = format!("echo.{floor}");
        if let Some(addr) = member.local_addr() {
            self.table.insert_at(&name.parse()?, addr);
        }
        let listener = far.bind(&name)?;
        member.register(&name)?;
        let (flow, answering) = tokio::join!(self.reach(near, &name, sleep), listener.accept_async());
        let (flow, answering) = (flow?, answering?);
        let start = near.now();
        for _ in 0..count {
            let (asked, answered) = tokio::join!(ping(&flow), echo(&answering));
            asked.and(answered)?;
        }
        let rtt = near.now().since(start) / count;
        Ok((flow.into_blocking().max_packet(), rtt))
    }

    /// A flow to a name that its layer may have yet to learn.
    async fn reach(&self, stack: &Stack, name: &str, sleep: impl AsyncFn(Duration)) -> Result<aio::Flow> {
        let end = stack.now() + PATIENCE;
        loop {
            match stack.flow(name).qos(QosSpec::DATA).alloc_async().await {
                Ok(flow) => return Ok(flow),
                Err(error) if stack.now() >= end => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

fn layer_name(floor: u8) -> String {
    format!("floor-{floor}")
}

/// Links are announced more often than usual, so that nobody has to wait for it.
fn layer(floor: u8) -> UnicastLayer {
    let (recalculation, announcement) = (Duration::from_secs(1), Duration::from_secs(2));
    UnicastLayer::new(&layer_name(floor)).recalculation_interval(recalculation).announcement_interval(announcement)
}

async fn ping(flow: &aio::Flow) -> Result<()> {
    flow.write(b"how high is it?").await?;
    flow.read_bytes().await?;
    Ok(())
}

async fn echo(flow: &aio::Flow) -> Result<()> {
    let packet = flow.read_bytes().await?;
    flow.write(&packet).await?;
    Ok(())
}
