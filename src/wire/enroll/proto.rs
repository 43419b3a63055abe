//! The messages as Protocol Buffers have them, and back.

use alloc::string::String;
use alloc::vec::Vec;

use super::{ID_LEN, Verdict, required};
use crate::types::id::Address;
use crate::types::layer::{CongestionAvoidance, Dht, LayerConfig, LayerKind, LinkState, RoutePolicy, Unicast};
use crate::types::name::{HashAlg, Name};
use crate::wire::WireError;
use crate::wire::protobuf::messages;

const UNICAST: u32 = 1;
const BROADCAST: u32 = 2;
/// The number of the only policy there is for routing, directory and addresses.
const ONLY: u32 = 0;

messages! {
    pub(super) struct Request {
        id: Option<Vec<u8>> = optional bytes 1,
    }

    pub(super) struct Response {
        id: Option<Vec<u8>> = optional bytes 1,
        t_sec: Option<i64> = optional int64 2,
        t_nsec: Option<i32> = optional int32 3,
        response: Option<i32> = optional int32 4,
        conf: Option<ConfigPart> = optional message 5,
    }

    pub(super) struct Ack {
        id: Option<Vec<u8>> = optional bytes 1,
        result: Option<i32> = optional int32 2,
    }

    struct ConfigPart {
        layer_info: Option<LayerPart> = optional message 1,
        ipcp_type: Option<u32> = optional uint32 2,
        unicast: Option<UnicastPart> = optional message 3,
    }

    struct LayerPart {
        name: Option<String> = optional string 1,
        dir_hash_algo: Option<u32> = optional uint32 2,
    }

    struct UnicastPart {
        dt: Option<DtPart> = optional message 1,
        dir: Option<DirPart> = optional message 2,
        addr_auth_type: Option<u32> = optional uint32 3,
        cong_avoid: Option<u32> = optional uint32 4,
    }

    struct DtPart {
        addr_size: Option<u32> = optional uint32 1,
        eid_size: Option<u32> = optional uint32 2,
        max_ttl: Option<u32> = optional uint32 3,
        routing: Option<RoutingPart> = optional message 4,
    }

    struct RoutingPart {
        pol: Option<u32> = optional uint32 1,
        ls: Option<LinkStatePart> = optional message 2,
    }

    struct LinkStatePart {
        pol: Option<u32> = optional uint32 1,
        t_recalc: Option<u32> = optional uint32 2,
        t_update: Option<u32> = optional uint32 3,
        t_timeo: Option<u32> = optional uint32 4,
    }

    struct DirPart {
        pol: Option<u32> = optional uint32 1,
        dht: Option<DhtPart> = optional message 2,
    }

    struct DhtPart {
        alpha: Option<u32> = optional uint32 1,
        k: Option<u32> = optional uint32 2,
        t_expire: Option<u32> = optional uint32 3,
        t_refresh: Option<u32> = optional uint32 4,
        t_replicate: Option<u32> = optional uint32 5,
        peer: Option<u64> = optional uint64 6,
    }
}

impl Request {
    pub(super) fn read(self) -> Result<super::Request, WireError> {
        Ok(super::Request { id: read_id(self.id)? })
    }
}

impl Response {
    pub(super) fn read(self) -> Result<super::Response, WireError> {
        let verdict = match required("response", self.response)? {
            0 => Verdict::Granted(required("conf", self.conf)?.read()?),
            denied @ ..0 => Verdict::Denied(denied),
            other => return Err(WireError::Unknown { field: "response", value: other.unsigned_abs() }),
        };
        let (seconds, nanoseconds) = (required("t_sec", self.t_sec)?, required("t_nsec", self.t_nsec)?);
        Ok(super::Response { id: read_id(self.id)?, seconds, nanoseconds, verdict })
    }
}

impl Ack {
    pub(super) fn read(self) -> Result<super::Ack, WireError> {
        Ok(super::Ack { id: read_id(self.id)?, result: required("result", self.result)? })
    }
}

impl ConfigPart {
    fn read(self) -> Result<LayerConfig, WireError> {
        let layer = required("layer_info", self.layer_info)?;
        let name = Name::try_from(required("name", layer.name)?);
        let hash = required("dir_hash_algo", layer.dir_hash_algo)?;
        // Only these have a place in a layer that can be enrolled with, which leaves out MD5.
        let alg = u8::try_from(hash).ok().and_then(HashAlg::from_number).filter(|alg| *alg != HashAlg::Md5);
        let kind = match required("ipcp_type", self.ipcp_type)? {
            UNICAST => LayerKind::Unicast(required("unicast", self.unicast)?.read()?),
            BROADCAST => LayerKind::Broadcast,
            other => return Err(WireError::Unknown { field: "ipcp_type", value: other }),
        };
        Ok(LayerConfig {
            name: name.map_err(|_| WireError::Invalid { field: "name of the layer" })?,
            hash: alg.ok_or(WireError::Unknown { field: "dir_hash_algo", value: hash })?,
            kind,
        })
    }
}

impl UnicastPart {
    fn read(self) -> Result<Unicast, WireError> {
        let dt = required("dt", self.dt)?;
        let routing = required("routing", dt.routing)?;
        only("routing policy", routing.pol)?;
        let dir = required("dir", self.dir)?;
        only("directory policy", dir.pol)?;
        only("addr_auth_type", self.addr_auth_type)?;
        let congestion = match required("cong_avoid", self.cong_avoid)? {
            0 => CongestionAvoidance::None,
            1 => CongestionAvoidance::MbEcn,
            other => return Err(WireError::Unknown { field: "cong_avoid", value: other }),
        };
        Ok(Unicast {
            addr_size: small("addr_size", 8, dt.addr_size)?,
            eid_size: small("eid_size", 8, dt.eid_size)?,
            max_ttl: small("max_ttl", u8::MAX, dt.max_ttl)?,
            routing: required("ls", routing.ls)?.read()?,
            directory: required("dht", dir.dht)?.read()?,
            congestion,
        })
    }
}

/// A field with a single allowed value.
fn only(field: &'static str, value: Option<u32>) -> Result<(), WireError> {
    match required(field, value)? {
        ONLY => Ok(()),
        other => Err(WireError::Unknown { field, value: other }),
    }
}

/// A field from 1 to `max`.
fn small(field: &'static str, max: u8, value: Option<u32>) -> Result<u8, WireError> {
    let value = u8::try_from(required(field, value)?).ok().filter(|value| (1..=max).contains(value));
    value.ok_or(WireError::Invalid { field })
}

impl LinkStatePart {
    fn read(self) -> Result<LinkState, WireError> {
        let (field, number) = ("link-state policy", required("link-state policy", self.pol)?);
        let policy = RoutePolicy::of_number(number).ok_or(WireError::Unknown { field, value: number })?;
        Ok(LinkState {
            policy,
            t_recalc: required("t_recalc", self.t_recalc)?,
            t_update: required("t_update", self.t_update)?,
            t_timeo: required("t_timeo", self.t_timeo)?,
        })
    }
}

impl DhtPart {
    fn read(self) -> Result<Dht, WireError> {
        Ok(Dht {
            alpha: required("alpha", self.alpha)?,
            k: required("k", self.k)?,
            t_expire: required("t_expire", self.t_expire)?,
            t_refresh: required("t_refresh", self.t_refresh)?,
            t_replicate: required("t_replicate", self.t_replicate)?,
            peer: Address(required("peer", self.peer)?),
        })
    }
}

fn read_id(id: Option<Vec<u8>>) -> Result<[u8; ID_LEN], WireError> {
    let id = required("id", id)?;
    id.try_into().map_err(|id: Vec<u8>| WireError::Length { field: "id", value: id.len() })
}

impl From<&super::Request> for Request {
    fn from(message: &super::Request) -> Self {
        Self { id: Some(message.id.to_vec()) }
    }
}

impl From<&super::Response> for Response {
    fn from(message: &super::Response) -> Self {
        let (response, conf) = match &message.verdict {
            Verdict::Granted(config) => (0, Some(config.into())),
            Verdict::Denied(why) => (*why, None),
        };
        Self {
            id: Some(message.id.to_vec()),
            t_sec: Some(message.seconds),
            t_nsec: Some(message.nanoseconds),
            response: Some(response),
            conf,
        }
    }
}

impl From<&super::Ack> for Ack {
    fn from(message: &super::Ack) -> Self {
        Self { id: Some(message.id.to_vec()), result: Some(message.result) }
    }
}

impl From<&LayerConfig> for ConfigPart {
    fn from(config: &LayerConfig) -> Self {
        let (ipcp_type, unicast) = match &config.kind {
            LayerKind::Unicast(unicast) => (UNICAST, Some(unicast.into())),
            LayerKind::Broadcast => (BROADCAST, None),
        };
        let layer =
            LayerPart { name: Some(config.name.as_str().into()), dir_hash_algo: Some(config.hash.number().into()) };
        Self { layer_info: Some(layer), ipcp_type: Some(ipcp_type), unicast }
    }
}

impl From<&Unicast> for UnicastPart {
    fn from(config: &Unicast) -> Self {
        let dt = DtPart {
            addr_size: Some(config.addr_size.into()),
            eid_size: Some(config.eid_size.into()),
            max_ttl: Some(config.max_ttl.into()),
            routing: Some(RoutingPart { pol: Some(ONLY), ls: Some((&config.routing).into()) }),
        };
        let cong_avoid = match config.congestion {
            CongestionAvoidance::None => 0,
            CongestionAvoidance::MbEcn => 1,
        };
        Self {
            dt: Some(dt),
            dir: Some(DirPart { pol: Some(ONLY), dht: Some((&config.directory).into()) }),
            addr_auth_type: Some(ONLY),
            cong_avoid: Some(cong_avoid),
        }
    }
}

impl From<&LinkState> for LinkStatePart {
    fn from(config: &LinkState) -> Self {
        Self {
            pol: Some(config.policy.number()),
            t_recalc: Some(config.t_recalc),
            t_update: Some(config.t_update),
            t_timeo: Some(config.t_timeo),
        }
    }
}

impl From<&Dht> for DhtPart {
    fn from(config: &Dht) -> Self {
        Self {
            alpha: Some(config.alpha),
            k: Some(config.k),
            t_expire: Some(config.t_expire),
            t_refresh: Some(config.t_refresh),
            t_replicate: Some(config.t_replicate),
            peer: Some(config.peer.0),
        }
    }
}
