//! The keys of each table, and their values.

use core::time::Duration;

use toml::de::DeTable;

use super::error::Hint;
use super::table::{Choice, Key, Source, Table, in_order, proper, quoted};
use super::{
    ConfigError, ConfigWarning, IpcpConfig, IpcpKind, Layer, Membership, NameConfig, NetworkConfig, Position, Problem,
    Program, SecurityFiles, SecurityTable, Why,
};
use crate::ipcp::shim::udp::Moves;
use crate::irm::LoadBalancing;
use crate::stack::security::Demand;
use crate::types::layer::{CongestionAvoidance, Dht, LinkState, RoutePolicy, Unicast};
use crate::types::name::{HashAlg, Name};
use crate::wire::eth::DEFAULT_ETHERTYPE;
use crate::wire::udp::DEFAULT_PORT;

const NAME: &str = "name";
const SECURITY: &str = "security";

const DIR: Key = &["dir"];
const REQUIRE: Key = &["require"];

const PROG: Key = &["prog"];
const ARGS: Key = &["args"];
const LB: Key = &["lb"];
const SERVER_FILES: [Key; 3] = [&["server_enc_file"], &["server_crt_file"], &["server_key_file"]];
const CLIENT_FILES: [Key; 3] = [&["client_enc_file"], &["client_crt_file"], &["client_key_file"]];

const BOOTSTRAP: Key = &["bootstrap"];
const ENROL: Key = &["enrol", "enroll"];
const AUTOBIND: Key = &["autobind"];
const REG: Key = &["reg"];
const CONN: Key = &["conn"];
const COMMON: &[Key] = &[BOOTSTRAP, ENROL, AUTOBIND, REG, CONN];

const CONN_OVER: Key = &["conn_over"];
const DETECTION: Key = &["detection"];
const MOVES: Key = &["moves"];

const HASH: Key = &["hash"];
const DEV: Key = &["dev"];
const ETHERTYPE: Key = &["ethertype"];
const IP: Key = &["ip"];
const PORT: Key = &["port"];
const DNS: Key = &["dns"];
const ADDR_SIZE: Key = &["addr_size"];
const EID_SIZE: Key = &["eid_size"];
const MAX_TTL: Key = &["max_ttl"];
const ADDR_AUTH: Key = &["addr-auth", "addr_auth"];
const ROUTING: Key = &["routing"];
const LS_T_RECALC: Key = &["ls_t_recalc"];
const LS_T_UPDATE: Key = &["ls_t_update"];
const LS_T_TIMEO: Key = &["ls_t_timeo"];
const CONGESTION: Key = &["congestion"];
const DIRECTORY: Key = &["directory"];
const DHT_ALPHA: Key = &["dht_alpha"];
const DHT_K: Key = &["dht_k"];
const DHT_T_EXPIRE: Key = &["dht_t_expire", "dht_t_expiry"];
const DHT_T_REFRESH: Key = &["dht_t_refresh"];
const DHT_T_REPLICATE: Key = &["dht_t_replicate"];

const BALANCING: &[Choice<LoadBalancing>] = &[
    ("spill", LoadBalancing::Spillover),
    ("round-robin", LoadBalancing::RoundRobin),
    // As on the reference's command line.
    ("spillover", LoadBalancing::Spillover),
];
const HASHES: &[Choice<HashAlg>] = &[
    (HashAlg::Sha3_224.name(), HashAlg::Sha3_224),
    (HashAlg::Sha3_256.name(), HashAlg::Sha3_256),
    (HashAlg::Sha3_384.name(), HashAlg::Sha3_384),
    (HashAlg::Sha3_512.name(), HashAlg::Sha3_512),
];
const CONGESTIONS: &[Choice<CongestionAvoidance>] = &[
    ("none", CongestionAvoidance::None),
    ("mb-ecn", CongestionAvoidance::MbEcn),
    // What the reference's parser takes for it.
    ("lfa", CongestionAvoidance::MbEcn),
];

pub(super) const DEMANDS: &[Choice<Demand>] =
    &[("encryption", Demand::Encryption), ("authentication", Demand::Authentication)];
pub(super) const MOVING: &[Choice<Moves>] =
    &[("never", Moves::Never), ("encrypted", Moves::Encrypted), ("all", Moves::All)];

/// The keys that say what a member of this kind of layer does for itself, whatever the layer is like.
const fn own_keys(kind: IpcpKind) -> &'static [Key] {
    match kind {
        IpcpKind::Unicast => &[CONN_OVER, DETECTION],
        IpcpKind::Broadcast => &[CONN_OVER],
        IpcpKind::Udp4 | IpcpKind::Udp6 => &[MOVES],
        _ => &[],
    }
}

/// The keys that say what a layer of this kind is like.
const fn layer_keys(kind: IpcpKind) -> &'static [Key] {
    match kind {
        IpcpKind::Local => &[HASH],
        IpcpKind::Udp4 | IpcpKind::Udp6 => &[IP, PORT, DNS],
        IpcpKind::EthDix => &[DEV, HASH, ETHERTYPE],
        IpcpKind::EthLlc => &[DEV, HASH],
        IpcpKind::Broadcast => &[],
        IpcpKind::Unicast => &[
            HASH,
            ADDR_SIZE,
            EID_SIZE,
            MAX_TTL,
            ADDR_AUTH,
            ROUTING,
            LS_T_RECALC,
            LS_T_UPDATE,
            LS_T_TIMEO,
            CONGESTION,
            DIRECTORY,
            DHT_ALPHA,
            DHT_K,
            DHT_T_EXPIRE,
            DHT_T_REFRESH,
            DHT_T_REPLICATE,
        ],
    }
}

/// Parses the text of a file.
pub(super) fn read(text: &str) -> Result<NetworkConfig, ConfigError> {
    let source = Source(text);
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map(|span| source.position(span.start));
        ConfigError::new(at, Problem::Syntax(error.message().to_owned()))
    })?;
    let mut reading = Reading::default();
    for entry in in_order(document.get_ref()) {
        if entry.key == SECURITY {
            reading.security(&Table::open(source, entry.key.to_owned(), &entry)?)?;
            continue;
        }
        let kind = IpcpKind::ALL.into_iter().find(|kind| kind.name() == entry.key);
        if kind.is_none() && entry.key != NAME {
            let hint = Hint::new(entry.key, IpcpKind::ALL.map(IpcpKind::name).into_iter().chain([NAME, SECURITY]));
            return Err(source.error(entry.at, Problem::Table { table: quoted(entry.key), hint }));
        }
        for table in Table::open(source, entry.key.to_owned(), &entry)?.tables() {
            let (name, table) = table?;
            match kind {
                Some(kind) => reading.ipcp(kind, name, &table)?,
                None => reading.name(name, &table)?,
            }
        }
    }
    reading.warn_of_loneliness();
    reading.0.warnings.sort_by_key(|warning| warning.at);
    Ok(reading.0)
}

/// The part of the file read so far.
#[derive(Default)]
struct Reading(NetworkConfig);

impl Reading {
    fn warn(&mut self, table: &Table<'_>, keys: &[Key], why: Why) {
        if let Some((key, at)) = table.first_of(keys) {
            self.0.warnings.push(ConfigWarning { at, table: table.title.clone(), key: Some(key), why });
        }
    }

    fn warn_of(&mut self, table: &Table<'_>, why: Why) {
        let warning = ConfigWarning { at: table.position(), table: table.title.clone(), key: None, why };
        self.0.warnings.push(warning);
    }

    /// Says what nobody can reach: an empty file, and members with nothing below them.
    fn warn_of_loneliness(&mut self) {
        let NetworkConfig { names, ipcps, warnings, security, .. } = &mut self.0;
        let warning = |at, table, why| ConfigWarning { at, table, key: None, why };
        if names.is_empty() && ipcps.is_empty() && security.is_none() {
            warnings.push(warning(Position { line: 1, column: 1 }, String::new(), Why::Empty));
        }
        if ipcps.iter().all(|ipcp| ipcp.kind.is_recursive()) {
            let members = ipcps.iter().filter(|ipcp| ipcp.membership != Membership::None);
            let table = |ipcp: &IpcpConfig| format!("{}.{}", ipcp.kind.name(), ipcp.name);
            warnings.extend(members.map(|ipcp| warning(ipcp.at, table(ipcp), Why::NothingBelow)));
        }
    }

    fn security(&mut self, table: &Table<'_>) -> Result<(), ConfigError> {
        table.only(&[&[DIR, REQUIRE]])?;
        let (directory, require) = (table.path(DIR)?, table.choice(REQUIRE, DEMANDS)?);
        self.0.security = Some(SecurityTable { directory, require, at: table.position() });
        Ok(())
    }

    fn name(&mut self, name: Name, table: &Table<'_>) -> Result<(), ConfigError> {
        table.only(&[&[PROG, ARGS, LB], &SERVER_FILES, &CLIENT_FILES])?;
        let config = NameConfig {
            name,
            balancing: table.choice(LB, BALANCING)?.unwrap_or_default(),
            programs: programs(table)?,
            server: files(table, SERVER_FILES)?,
            client: files(table, CLIENT_FILES)?,
            at: table.position(),
        };
        self.0.names.push(config);
        self.warn(table, &[PROG], Why::Programs);
        Ok(())
    }

    fn ipcp(&mut self, kind: IpcpKind, name: Name, table: &Table<'_>) -> Result<(), ConfigError> {
        table.only(&[COMMON, own_keys(kind), layer_keys(kind)])?;
        let (layer, with) = (table.name(BOOTSTRAP)?, table.name(ENROL)?);
        let (register, connect) = (table.names(REG)?, table.names(CONN)?);
        if with.is_some() && !kind.is_recursive() {
            let why = "its members are not enrolled; write bootstrap = \"<layer>\"";
            return Err(table.wrong(ENROL, not_here(kind, ENROL, why)));
        }
        if kind == IpcpKind::Broadcast && !register.is_empty() {
            let why = "there are no flows to names in them; join the layer by its own name";
            return Err(table.wrong(REG, not_here(kind, REG, why)));
        }
        let connect_over = table.names(CONN_OVER)?;
        let autobind = table.flag(AUTOBIND)?;
        let detection = table.number(DETECTION, 0..=600_000, " ms")?;
        let detection = detection.map(|millis| Duration::from_millis(millis.into()));
        let moves = table.choice(MOVES, MOVING)?;
        if self.0.ipcps.iter().any(|other| other.name == name) {
            self.warn_of(table, Why::SameName);
        }
        let membership = self.membership(kind, table, (layer, with))?;
        if matches!(membership, Membership::Enroll { .. }) && connect.is_empty() {
            self.warn(table, &[CONN_OVER], Why::NoConnections);
        }
        if matches!(membership, Membership::Bootstrap { .. }) && kind.is_recursive() && !autobind {
            self.warn_of(table, Why::Alone);
        }
        if autobind && !kind.is_recursive() {
            self.warn(table, &[AUTOBIND], Why::NotAsked);
        }
        self.0.ipcps.push(IpcpConfig {
            name,
            kind,
            membership,
            autobind,
            detection,
            moves,
            register,
            connect,
            connect_over,
            at: table.position(),
        });
        Ok(())
    }

    /// How the IPCP becomes a member of its layer: by the name of that, or with the one that enrolls it.
    fn membership(
        &mut self,
        kind: IpcpKind,
        table: &Table<'_>,
        (layer, with): (Option<Name>, Option<Name>),
    ) -> Result<Membership, ConfigError> {
        let parameters = self.layer(kind, table, layer.is_some() && with.is_none())?;
        Ok(match (with, layer.zip(parameters)) {
            (Some(with), _) => {
                self.warn(table, &[BOOTSTRAP], Why::Enrolled);
                self.warn(table, layer_keys(kind), Why::Enrolled);
                Membership::Enroll { with }
            }
            (None, Some((layer, parameters))) => {
                self.warn(table, &[CONN, CONN_OVER], Why::NotEnrolled);
                Membership::Bootstrap { layer, parameters }
            }
            (None, None) => {
                self.warn_of(table, Why::NoMember);
                Membership::None
            }
        })
    }

    /// Reads the parameters of a layer. Values are always checked; mandatory keys are only demanded if the layer is
    /// `wanted`, and without them there is none.
    fn layer(&mut self, kind: IpcpKind, table: &Table<'_>, wanted: bool) -> Result<Option<Layer>, ConfigError> {
        let needed = |key: Key, what| if wanted { Err(table.missing(key, what)) } else { Ok(None) };
        let address = "the address of this host in the network";
        let interface = "the network interface";
        let hash = if layer_keys(kind).contains(&HASH) { table.choice(HASH, HASHES)? } else { None };
        let hash = hash.unwrap_or_default();
        Ok(Some(match kind {
            IpcpKind::Local => Layer::Local { hash },
            IpcpKind::Broadcast => Layer::Broadcast,
            IpcpKind::Unicast => Layer::Unicast { hash, parameters: self.unicast(table)? },
            IpcpKind::Udp4 => {
                let (port, example) = (port(table)?, "10.9.0.1");
                let (ip, dns) = (table.address(IP, "IPv4", example)?, table.address(DNS, "IPv4", example)?);
                self.warn(table, &[DNS], Why::Dns);
                let Some(ip) = ip else { return needed(IP, address) };
                Layer::Udp4 { ip, port, dns }
            }
            IpcpKind::Udp6 => {
                let (port, example) = (port(table)?, "fd00::1");
                let (ip, dns) = (table.address(IP, "IPv6", example)?, table.address(DNS, "IPv6", example)?);
                self.warn(table, &[DNS], Why::Dns);
                let Some(ip) = ip else { return needed(IP, address) };
                Layer::Udp6 { ip, port, dns }
            }
            IpcpKind::EthDix => {
                let ethertype = table.number(ETHERTYPE, 0x0600..=0xFFFE, "")?;
                let ethertype = ethertype.and_then(|n| u16::try_from(n).ok()).unwrap_or(DEFAULT_ETHERTYPE);
                let Some(device) = device(table)? else { return needed(DEV, interface) };
                Layer::EthDix { device, ethertype, hash }
            }
            IpcpKind::EthLlc => {
                let Some(device) = device(table)? else { return needed(DEV, interface) };
                Layer::EthLlc { device, hash }
            }
        }))
    }

    fn unicast(&mut self, table: &Table<'_>) -> Result<Unicast, ConfigError> {
        let default = Unicast::default();
        let byte = |key, limits, default: u8| -> Result<u8, ConfigError> {
            let number = table.number(key, limits, "")?;
            Ok(number.and_then(|n| u8::try_from(n).ok()).unwrap_or(default))
        };
        table.choice(ADDR_AUTH, &[("flat", ())])?;
        let unicast = Unicast {
            // All that flat addresses may have, in the reference as well.
            addr_size: byte(ADDR_SIZE, 4..=4, default.addr_size)?,
            eid_size: byte(EID_SIZE, 1..=8, default.eid_size)?,
            max_ttl: byte(MAX_TTL, 1..=255, default.max_ttl)?,
            routing: link_state(table)?,
            directory: dht(table)?,
            congestion: table.choice(CONGESTION, CONGESTIONS)?.unwrap_or(default.congestion),
        };
        if unicast.eid_size != default.eid_size {
            self.warn(table, &[EID_SIZE], Why::EidSize);
        }
        Ok(unicast)
    }
}

fn programs(table: &Table<'_>) -> Result<Vec<Program>, ConfigError> {
    let (paths, arguments) = (table.texts(PROG)?, table.texts(ARGS)?);
    if arguments.len() > paths.len() {
        let problem = Problem::Arguments { arguments: arguments.len(), programs: paths.len() };
        return Err(table.wrong(ARGS, problem));
    }
    let mut arguments = arguments.into_iter();
    let program = |(path, _)| Program {
        path: std::path::PathBuf::from(path),
        arguments: arguments.next().map(|(line, _)| line.split_whitespace().map(str::to_owned).collect()),
    };
    Ok(paths.into_iter().map(program).collect())
}

fn files(table: &Table<'_>, [encryption, certificate, key]: [Key; 3]) -> Result<SecurityFiles, ConfigError> {
    Ok(SecurityFiles {
        encryption: table.path(encryption)?,
        certificate: table.path(certificate)?,
        key: table.path(key)?,
    })
}

fn port(table: &Table<'_>) -> Result<u16, ConfigError> {
    let port = table.number(PORT, 0..=0xFFFF, "")?;
    Ok(port.and_then(|n| u16::try_from(n).ok()).unwrap_or(DEFAULT_PORT))
}

fn device(table: &Table<'_>) -> Result<Option<String>, ConfigError> {
    Ok(table.short(DEV, Name::MAX_LEN)?.map(str::to_owned))
}

fn link_state(table: &Table<'_>) -> Result<LinkState, ConfigError> {
    let default = LinkState::default();
    let seconds = |key, default| Ok::<_, ConfigError>(table.number(key, 1..=u32::MAX, " s")?.unwrap_or(default));
    let read = LinkState {
        policy: table.choice(ROUTING, &RoutePolicy::names().collect::<Vec<_>>())?.unwrap_or(default.policy),
        t_recalc: seconds(LS_T_RECALC, default.t_recalc)?,
        t_update: seconds(LS_T_UPDATE, default.t_update)?,
        t_timeo: seconds(LS_T_TIMEO, default.t_timeo)?,
    };
    let LinkState { t_update, t_timeo, .. } = read;
    // One announcement may be lost.
    if t_timeo / 2 < t_update {
        let timeout = (LS_T_TIMEO, t_timeo, t_update.saturating_mul(2), u32::MAX);
        let update = (LS_T_UPDATE, t_update, 1, t_timeo / 2);
        // By what is in the file of the two.
        let (key, value, min, max) = if table.position_of(LS_T_TIMEO).is_some() { timeout } else { update };
        let problem = Problem::Range { key: proper(key), value: value.to_string(), min, max, unit: " s" };
        return Err(table.wrong(key, problem));
    }
    Ok(read)
}

fn dht(table: &Table<'_>) -> Result<Dht, ConfigError> {
    let default = Dht::default();
    table.choice(DIRECTORY, &[("DHT", ()), ("dht", ())])?;
    Ok(Dht {
        alpha: table.number(DHT_ALPHA, 1..=10, "")?.unwrap_or(default.alpha),
        k: table.number(DHT_K, 1..=20, "")?.unwrap_or(default.k),
        t_expire: table.number(DHT_T_EXPIRE, 10..=86_400, " s")?.unwrap_or(default.t_expire),
        t_refresh: table.number(DHT_T_REFRESH, 3..=3600, " s")?.unwrap_or(default.t_refresh),
        t_replicate: table.number(DHT_T_REPLICATE, 3..=3600, " s")?.unwrap_or(default.t_replicate),
        peer: default.peer,
    })
}

/// The key is not for IPCPs of this kind.
fn not_here(kind: IpcpKind, key: Key, why: &'static str) -> Problem {
    Problem::NotHere { key: proper(key), kind: kind.name(), why }
}
