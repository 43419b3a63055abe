//! Questions of the directory, by their cookies: they tell the answers that this member waits for from those that anybody can
//! make up, before either takes the room of the other.

use alloc::collections::{BTreeSet, VecDeque};

use crate::types::name::HashAlg;
use crate::wire::WireError;
use crate::wire::dht::{self, Body};

/// Questions that are remembered, the latest: as many as the directory has under way at most.
const MOST: usize = 1024;

/// Questions that have been sent.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: BTreeSet<u64>,
    /// In the order in which they were sent, also those that are answered.
    sent: VecDeque<u64>,
}

impl Asked {
    /// Takes note of a message of the directory that is sent.
    pub(super) fn note(&mut self, hash: HashAlg, message: &[u8]) {
        let Ok(Body::FindNode { cookie, .. } | Body::FindValue { cookie, .. }) = body(hash, message) else { return };
        if self.sent.len() >= MOST
            && let Some(first) = self.sent.pop_front()
        {
            self.open.remove(&first);
        }
        self.sent.push_back(cookie);
        self.open.insert(cookie);
    }

    /// Returns `true` if a message answers a question: the first that does.
    pub(super) fn claim(&mut self, hash: HashAlg, message: &[u8]) -> bool {
        match body(hash, message) {
            Ok(Body::FoundNode { cookie, .. } | Body::FoundValue { cookie, .. }) => self.open.remove(&cookie),
            _ => false,
        }
    }
}

fn body(hash: HashAlg, message: &[u8]) -> Result<Body, WireError> {
    dht::Message::decode(hash, message).map(|message| message.body)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::types::id::Address;
    use crate::types::name::{Name, NameHash};
    use crate::wire::dht::{Contact, Message};

    const HASH: HashAlg = HashAlg::Sha3_256;

    fn message(body: Body) -> Vec<u8> {
        Message { src: Contact { id: key(), address: Address(7) }, body }.encode().unwrap()
    }

    fn key() -> NameHash {
        HASH.hash(&Name::new("echo").unwrap())
    }

    fn question(cookie: u64) -> Vec<u8> {
        message(Body::FindNode { cookie, key: key() })
    }

    fn answer(cookie: u64) -> Vec<u8> {
        message(Body::FoundNode { cookie, key: key(), contacts: Vec::new() })
    }

    #[test]
    fn each_question_has_one_answer() {
        let mut asked = Asked::default();
        assert!(!asked.claim(HASH, &answer(5)));
        asked.note(HASH, &question(5));
        asked.note(HASH, &answer(6));
        assert!(!asked.claim(HASH, &answer(6)), "an answer of our own is no question");
        assert!(!asked.claim(HASH, &question(5)) && !asked.claim(HASH, b""));
        assert!(asked.claim(HASH, &answer(5)));
        assert!(!asked.claim(HASH, &answer(5)), "a second time");
    }

    #[test]
    fn the_latest_questions_are_remembered() {
        let mut asked = Asked::default();
        (0..5000).for_each(|cookie| asked.note(HASH, &question(cookie)));
        assert_eq!((asked.open.len(), asked.sent.len()), (MOST, MOST));
        assert!(asked.claim(HASH, &answer(4999)) && asked.claim(HASH, &answer(5000 - MOST as u64)));
        assert!(!asked.claim(HASH, &answer(4999 - MOST as u64)));
    }
}
