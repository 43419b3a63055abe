use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::base::buf::BufPool;

/// Bytes of a message.
const LIMIT: u32 = 300;

/// The same as [`Messages`], as simply as can be.
#[derive(Default)]
struct Model {
    complete: VecDeque<Vec<u8>>,
    open: Option<Vec<u8>>,
}

impl Model {
    fn push(&mut self, part: Part, bytes: &[u8]) {
        match part {
            Part::Whole => {
                self.open = None;
                self.complete.push_back(bytes.to_vec());
            }
            Part::First => self.open = Some(bytes.to_vec()),
            Part::Middle | Part::Last => {
                if let Some(open) = &mut self.open {
                    open.extend_from_slice(bytes);
                }
                if part == Part::Last {
                    self.complete.extend(self.open.take());
                }
            }
        }
    }

    fn fits(&self, part: Part, len: usize) -> bool {
        let before = if part == Part::First { 0 } else { self.open.as_ref().map_or(0, Vec::len) };
        part == Part::Whole || before + len <= LIMIT as usize
    }

    fn read(&mut self, most: usize) -> Option<(Vec<u8>, bool)> {
        let front = self.complete.front_mut()?;
        let read: Vec<u8> = front.drain(..most.min(front.len())).collect();
        let over = front.is_empty();
        if over {
            self.complete.pop_front();
        }
        Some((read, over))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push(Part, usize),
    Read(usize),
    Deliver,
    Drop,
}

fn op() -> impl Strategy<Value = Op> {
    let part = prop_oneof![
        3 => Just(Part::Whole), 3 => Just(Part::First), 4 => Just(Part::Middle), 4 => Just(Part::Last)
    ];
    prop_oneof![
        12 => (part, 1usize..150).prop_map(|(part, len)| Op::Push(part, len)),
        5 => (0usize..200).prop_map(Op::Read),
        3 => Just(Op::Deliver),
        1 => Just(Op::Drop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn messages_are_read_as_they_were_written(ops in proptest::collection::vec(op(), 1..120)) {
        let mut cache = BufCache::new(&BufPool::new(64));
        let (mut messages, mut model) = (Messages::new(LIMIT), Model::default());
        let mut next = 0u8;
        for (n, op) in ops.into_iter().enumerate() {
            let now = Instant::from_millis(n as u64);
            match op {
                Op::Push(part, len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                    next = next.wrapping_add(len as u8);
                    prop_assert_eq!(messages.fits(part, len), model.fits(part, len));
                    if messages.fits(part, len) {
                        messages.push(now, part, PacketBuf::copy_of(&bytes), &mut cache);
                        model.push(part, &bytes);
                        let fragment = part != Part::Whole && model.open.is_some();
                        prop_assert!(!fragment || messages.open_since() == Some(now));
                    }
                }
                Op::Read(most) => {
                    let mut buf = vec![0; most];
                    let read = messages.read(&mut buf, &mut cache);
                    let read = read.map(|(n, over)| (buf[..n].to_vec(), over));
                    prop_assert_eq!(read, model.read(most));
                }
                Op::Deliver => {
                    let delivered = messages.deliver(&mut cache);
                    let expected = model.complete.pop_front();
                    prop_assert_eq!(delivered.as_deref(), expected.as_deref());
                }
                Op::Drop => {
                    messages.drop_open(&mut cache);
                    model.open = None;
                }
            }
            prop_assert_eq!(messages.next_len(), model.complete.front().map(Vec::len));
            prop_assert_eq!(messages.can_deliver(), !model.complete.is_empty());
            prop_assert_eq!(messages.open_since().is_some(), model.open.is_some());
            prop_assert_eq!(messages.is_empty(), model.complete.is_empty() && model.open.is_none());
        }
        while let Some(message) = messages.deliver(&mut cache) {
            prop_assert_eq!(message.to_vec(), model.complete.pop_front().unwrap_or_default());
        }
        messages.drop_open(&mut cache);
        prop_assert_eq!((messages.len(), messages.bytes(), messages.is_empty()), (0, 0, true));
    }
}

#[test]
fn an_open_message_takes_no_place_but_memory() {
    let mut cache = BufCache::new(&BufPool::new(64));
    let mut messages = Messages::new(LIMIT);
    let mut push =
        |messages: &mut Messages, part| messages.push(Instant::ZERO, part, PacketBuf::copy_of(&[7; 50]), &mut cache);
    assert_eq!(push(&mut messages, Part::Whole), 0);
    assert_eq!(push(&mut messages, Part::First), 0);
    assert_eq!(push(&mut messages, Part::Middle), 0);
    let (whole, fragment) = (PacketBuf::copy_of(&[7; 50]).memory(), PacketBuf::snug_of(&[7; 50]).memory());
    assert_eq!((messages.len(), messages.bytes()), (1, whole + 2 * fragment));
    assert_eq!(push(&mut messages, Part::Last), 0);
    assert_eq!(messages.len(), 4);
    // Fragments of another message, of which the beginning is missing, and one that is left for the next message.
    assert_eq!(push(&mut messages, Part::Last), 1);
    assert_eq!(push(&mut messages, Part::First), 0);
    assert_eq!(push(&mut messages, Part::Middle), 0);
    assert_eq!(push(&mut messages, Part::First), 2);
    assert_eq!(push(&mut messages, Part::Whole), 1);
    assert_eq!(messages.len(), 5);
}
