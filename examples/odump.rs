//! Captured packets, one by one, to the innermost header.

#[path = "common/mod.rs"]
mod common;

use std::fs::File;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use common::{Result, say, stop};
use o7s::HashAlg;
use o7s::capture::{CapturedPacket, DISSECTOR, Followed, Follower, Reader};
use o7s::dissect::Dissector;

/// Prints the packets of a capture, all protocols to the innermost header, a line each. Encrypted ones are opened if the
/// capture, or a key log, has their key.
#[derive(Parser, Debug)]
#[command(after_help = common::after_help_of_reader("\
A line says when the packet passed, in seconds after the first one; where, and whether it came (<) or went (>); and what
it is, from its addresses inwards. What the capture says of it, such as why it was dropped, is behind a #.

Examples:
  a file:                  odump oping.pcapng
  as it passes:            mkfifo tap; oping ... --pcap tap & odump tap
  what is encrypted:       O7S_KEYLOGFILE=keys oping ... --pcap oping.pcapng; odump --keys keys oping.pcapng
  the Wireshark dissector: odump --dissector > o7s.lua"))]
struct Options {
    /// The capture, pcapng or classic pcap; - for standard input
    #[arg(value_name = "FILE", required_unless_present = "dissector")]
    file: Option<PathBuf>,

    /// Open encrypted packets with the keys in this log
    #[arg(short, long, value_name = "FILE")]
    keys: Option<PathBuf>,

    /// Print every field below its packet, by the name that the Wireshark dissector has for it
    #[arg(short, long)]
    fields: bool,

    /// Print what flows carry, in hexadecimal
    #[arg(short = 'x', long)]
    payload: bool,

    /// Print packets of other protocols, too
    #[arg(short, long)]
    all: bool,

    /// UDP port of layers, if not 3435. May be given several times
    #[arg(short, long, value_name = "PORT")]
    port: Vec<u16>,

    /// EtherType of layers, if not 0xa000
    #[arg(long, value_name = "TYPE", value_parser = common::units::ethertype)]
    ethertype: Option<u16>,

    /// How names are hashed where no enrollment tells
    #[arg(long, value_enum, default_value_t = Hash::Sha3_256)]
    hash: Hash,

    /// Bytes of an address where no enrollment tells
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    addr_size: u8,

    /// Print the dissector for Wireshark, a script in Lua
    #[arg(long, exclusive = true)]
    dissector: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "that is what they are called")]
enum Hash {
    #[value(name = "sha3-224")]
    Sha3_224,
    #[value(name = "sha3-256")]
    Sha3_256,
    #[value(name = "sha3-384")]
    Sha3_384,
    #[value(name = "sha3-512")]
    Sha3_512,
}

impl From<Hash> for HashAlg {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha3_224 => Self::Sha3_224,
            Hash::Sha3_256 => Self::Sha3_256,
            Hash::Sha3_384 => Self::Sha3_384,
            Hash::Sha3_512 => Self::Sha3_512,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    common::run(|| run(&options))
}

fn run(options: &Options) -> Result<bool> {
    if options.dissector {
        say!("{}", DISSECTOR.trim_end());
        return Ok(true);
    }
    let mut follower = follower(options)?;
    let file = options.file.as_deref().filter(|file| file.as_os_str() != "-");
    let name = file.unwrap_or(Path::new("standard input"));
    let of_file = |error: std::io::Error| format!("{}: {error}", name.display());
    let from: Box<dyn Read> = match file {
        Some(file) => Box::new(File::open(file).map_err(of_file)?),
        None => Box::new(stdin()),
    };
    // It may wait for a packet that never comes.
    stop::on_request(|| common::end());
    let mut reader = Reader::new(from).map_err(of_file)?;
    let (mut first, mut shown) = (None, false);
    while let Some(packet) = reader.packet().map_err(of_file)? {
        if stop::requested() {
            break;
        }
        follower.add_keys(&reader.take_secrets());
        let followed = follower.follow(packet.link, &packet.data);
        let start = *first.get_or_insert(packet.unix_nanos);
        if followed.is_o7s() || options.all {
            shown = true;
            print(options, packet.unix_nanos.saturating_sub(start), &packet, &followed);
        }
    }
    if reader.is_cut() {
        common::complain(format_args!("warning: {}: it is cut off in the middle of a packet", name.display()));
    }
    if first.is_none() {
        return Err(format!("{}: there is no packet in it", name.display()).into());
    }
    if !shown {
        common::complain(format_args!(
            "warning: {}: no packet is of a layer at the ports that were looked at; see --port, --ethertype and --all",
            name.display()
        ));
    }
    Ok(true)
}

fn follower(options: &Options) -> Result<Follower> {
    let dissector = Dissector::default().hash(options.hash.into()).address_len(options.addr_size)?;
    let mut follower = Follower::default().dissector(dissector);
    if !options.port.is_empty() {
        follower = follower.ports(&options.port);
    }
    if let Some(ethertype) = options.ethertype {
        follower = follower.ethertype(ethertype);
    }
    if let Some(keys) = &options.keys {
        let log = std::fs::read_to_string(keys).map_err(|error| format!("{}: {error}", keys.display()))?;
        // A line is as in the logs of TLS: a label, an id, a key.
        if !log.lines().any(|line| line.starts_with("O7S_") && line.split_whitespace().count() == 3) {
            common::complain(format_args!("warning: {}: there is no key of an o7s flow in it", keys.display()));
        }
        follower.add_keys(&log);
    }
    Ok(follower)
}

/// The interface, without its address if that is said anyway: stacks name them by both.
fn place(interface: &str, text: &str) -> String {
    let (name, what) =
        interface.split_once(' ').map_or((interface, String::new()), |(n, rest)| (n, format!(" {rest}")));
    match name.split_once('.') {
        Some((kind, address)) if text.split([' ', '|']).any(|word| word == address) => format!("{kind}{what}"),
        _ => interface.to_owned(),
    }
}

fn print(options: &Options, after: u64, packet: &CapturedPacket, followed: &Followed) {
    let direction = match packet.sent {
        Some(true) => " >",
        Some(false) => " <",
        None => "",
    };
    let text =
        if followed.is_o7s() { followed.to_string() } else { format!("{} bytes of another protocol", packet.original) };
    let mut line = format!("{:.6} {}{direction} {text}", after as f64 / 1e9, place(&packet.interface, &text));
    for comment in &packet.comments {
        line.push_str(&format!(" # {comment}"));
    }
    say!("{line}");
    if options.fields {
        followed.fields().iter().for_each(|field| say!("    {field}"));
    }
    if options.payload {
        for row in followed.payload().chunks(32) {
            let hex: String = row.iter().map(|byte| format!("{byte:02x}")).collect();
            say!("    {hex}");
        }
    }
}
