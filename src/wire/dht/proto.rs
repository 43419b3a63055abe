//! The messages as Protocol Buffers have them, and back.

use alloc::vec::Vec;

use super::{Body, Contact, Extension};
use crate::types::id::Address;
use crate::types::name::{HashAlg, NameHash};
use crate::wire::WireError;
use crate::wire::protobuf::{messages, required};

const STORE: u32 = 0;
const FIND_NODE_REQ: u32 = 1;
const FIND_NODE_RSP: u32 = 2;
const FIND_VALUE_REQ: u32 = 3;
const FIND_VALUE_RSP: u32 = 4;

messages! {
    pub(super) struct Message {
        code: Option<u32> = optional uint32 1,
        src: Option<ContactPart> = optional message 2,
        store: Option<StorePart> = optional message 3,
        find: Option<FindPart> = optional message 4,
        node: Option<NodePart> = optional message 5,
        val: Option<ValuePart> = optional message 6,
        own: Option<Vec<u8>> = optional bytes 20,
    }

    struct ContactPart {
        id: Option<Vec<u8>> = optional bytes 1,
        addr: Option<u64> = optional uint64 2,
    }

    struct StorePart {
        key: Option<Vec<u8>> = optional bytes 1,
        val: Option<Vec<u8>> = optional bytes 2,
        exp: Option<u32> = optional uint32 3,
    }

    struct FindPart {
        cookie: Option<u64> = optional uint64 1,
        key: Option<Vec<u8>> = optional bytes 2,
    }

    struct NodePart {
        cookie: Option<u64> = optional uint64 1,
        key: Option<Vec<u8>> = optional bytes 2,
        contacts: Vec<ContactPart> = repeated message 3,
    }

    struct ValuePart {
        values: Vec<Vec<u8>> = repeated bytes 1,
    }
}

impl Message {
    pub(super) fn read(self, alg: HashAlg) -> Result<super::Message, WireError> {
        self.check_required()?;
        let src = required("src", self.src)?.read(alg)?;
        let body = match required("code", self.code)? {
            STORE => required("store", self.store)?.read(alg)?,
            FIND_NODE_REQ => {
                let (cookie, key) = required("find", self.find)?.read(alg)?;
                Body::FindNode { cookie, key }
            }
            FIND_VALUE_REQ => {
                let (cookie, key) = required("find", self.find)?.read(alg)?;
                Body::FindValue { cookie, key }
            }
            FIND_NODE_RSP => {
                let (cookie, key, contacts) = required("node", self.node)?.read(alg)?;
                Body::FoundNode { cookie, key, contacts }
            }
            FIND_VALUE_RSP => {
                let (cookie, key, contacts) = required("node", self.node)?.read(alg)?;
                let values = required("val", self.val)?.values;
                let values = values.iter().filter_map(|value| read_value(value).ok()).collect();
                Body::FoundValue { cookie, key, contacts, values }
            }
            other => return Err(WireError::Unknown { field: "dht code", value: other }),
        };
        Ok(super::Message { src, body })
    }

    pub(super) fn extension(&self) -> Extension {
        let Some((token, padding)) = self.own.as_ref().and_then(|own| own.split_first_chunk()) else {
            return Extension::default();
        };
        let token = u64::from_be_bytes(*token);
        Extension { token: (token != 0).then_some(token), padding: padding.len() }
    }

    pub(super) fn with(mut self, extension: Extension) -> Self {
        if !extension.is_empty() {
            let mut own = extension.token.unwrap_or(0).to_be_bytes().to_vec();
            own.resize(own.len() + extension.padding.min(super::MAX_LEN), 0);
            self.own = Some(own);
        }
        self
    }

    /// A part that is not whole spoils the message, also one that does not belong to its code or in a list.
    fn check_required(&self) -> Result<(), WireError> {
        let contacts = self.node.iter().flat_map(|node| &node.contacts);
        if contacts.chain(&self.src).any(|contact| contact.id.is_none() || contact.addr.is_none()) {
            return Err(WireError::Missing { field: "field of a contact" });
        }
        if self.store.as_ref().is_some_and(|part| part.key.is_none() || part.val.is_none() || part.exp.is_none()) {
            return Err(WireError::Missing { field: "field of store" });
        }
        if self.find.as_ref().is_some_and(|part| part.key.is_none() || part.cookie.is_none()) {
            return Err(WireError::Missing { field: "field of find" });
        }
        if self.node.as_ref().is_some_and(|part| part.key.is_none() || part.cookie.is_none()) {
            return Err(WireError::Missing { field: "field of node" });
        }
        Ok(())
    }
}

impl ContactPart {
    fn read(self, alg: HashAlg) -> Result<Contact, WireError> {
        let id = read_hash("id", alg, self.id)?;
        Ok(Contact { id, address: read_address(required("addr", self.addr)?)? })
    }
}

impl StorePart {
    fn read(self, alg: HashAlg) -> Result<Body, WireError> {
        let key = read_hash("key", alg, self.key)?;
        let value = read_value(&required("val", self.val)?)?;
        Ok(Body::Store { key, value, expires: required("exp", self.exp)? })
    }
}

impl FindPart {
    fn read(self, alg: HashAlg) -> Result<(u64, NameHash), WireError> {
        Ok((required("cookie", self.cookie)?, read_hash("key", alg, self.key)?))
    }
}

impl NodePart {
    fn read(self, alg: HashAlg) -> Result<(u64, NameHash, Vec<Contact>), WireError> {
        let contacts = self.contacts.into_iter().filter_map(|contact| contact.read(alg).ok()).collect();
        Ok((required("cookie", self.cookie)?, read_hash("key", alg, self.key)?, contacts))
    }
}

fn read_hash(field: &'static str, alg: HashAlg, bytes: Option<Vec<u8>>) -> Result<NameHash, WireError> {
    let bytes = required(field, bytes)?;
    let hash = NameHash::new(&bytes).filter(|_| bytes.len() == alg.len());
    hash.ok_or(WireError::Length { field, value: bytes.len() })
}

fn read_value(bytes: &[u8]) -> Result<Address, WireError> {
    let bytes = bytes.try_into().map_err(|_| WireError::Length { field: "value", value: bytes.len() })?;
    read_address(u64::from_be_bytes(bytes))
}

fn read_address(address: u64) -> Result<Address, WireError> {
    if address == 0 { Err(WireError::Invalid { field: "address" }) } else { Ok(Address(address)) }
}

impl From<&super::Message> for Message {
    fn from(message: &super::Message) -> Self {
        let empty = Self { src: Some(ContactPart::from(&message.src)), ..Self::default() };
        match &message.body {
            Body::Store { key, value, expires } => {
                let store = StorePart { key: bytes(key), val: Some(value_bytes(value)), exp: Some(*expires) };
                Self { code: Some(STORE), store: Some(store), ..empty }
            }
            Body::FindNode { cookie, key } => {
                let find = FindPart { cookie: Some(*cookie), key: bytes(key) };
                Self { code: Some(FIND_NODE_REQ), find: Some(find), ..empty }
            }
            Body::FindValue { cookie, key } => {
                let find = FindPart { cookie: Some(*cookie), key: bytes(key) };
                Self { code: Some(FIND_VALUE_REQ), find: Some(find), ..empty }
            }
            Body::FoundNode { cookie, key, contacts } => {
                let node = NodePart::new(*cookie, key, contacts);
                Self { code: Some(FIND_NODE_RSP), node: Some(node), ..empty }
            }
            Body::FoundValue { cookie, key, contacts, values } => {
                let node = NodePart::new(*cookie, key, contacts);
                let val = ValuePart { values: values.iter().map(value_bytes).collect() };
                Self { code: Some(FIND_VALUE_RSP), node: Some(node), val: Some(val), ..empty }
            }
        }
    }
}

impl NodePart {
    fn new(cookie: u64, key: &NameHash, contacts: &[Contact]) -> Self {
        let contacts = contacts.iter().map(ContactPart::from).collect();
        Self { cookie: Some(cookie), key: bytes(key), contacts }
    }
}

impl From<&Contact> for ContactPart {
    fn from(contact: &Contact) -> Self {
        Self { id: bytes(&contact.id), addr: Some(contact.address.0) }
    }
}

fn bytes(hash: &NameHash) -> Option<Vec<u8>> {
    Some(hash.as_bytes().to_vec())
}

fn value_bytes(value: &Address) -> Vec<u8> {
    value.0.to_be_bytes().to_vec()
}
