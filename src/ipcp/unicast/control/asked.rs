//! Questions of the directory, by their cookies: they tell the answers that this member waits for from those that anybody can
//! make up, before either takes the room of the other.

use alloc::collections::{BTreeMap, VecDeque};

use crate::base::time::Instant;
use crate::directory::LIFETIME;

/// Questions that are open at most: as many as the directory has under way. The oldest goes, whose answer is one among others.
const MOST: usize = 1024;

/// Room for so many is not given back.
const SPARE: usize = 16;

/// Questions that have been sent and not been answered, for as long as the directory takes an answer: whoever is asked and says
/// nothing gathers no right to speak later.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: BTreeMap<u64, Instant>,
    /// In the order in which they were sent; some may have been answered.
    sent: VecDeque<(Instant, u64)>,
}

impl Asked {
    /// Takes note of a question with this cookie, which is sent.
    pub(super) fn note(&mut self, now: Instant, cookie: u64) {
        self.forget(now);
        while self.open.len() >= MOST
            && let Some((at, cookie)) = self.sent.pop_front()
        {
            self.close(at, cookie);
        }
        if self.sent.len() >= 2 * MOST {
            let open = &self.open;
            self.sent.retain(|(at, cookie)| open.get(cookie) == Some(at));
        }
        self.sent.push_back((now, cookie));
        self.open.insert(cookie, now);
    }

    /// Returns `true` if an answer with this cookie answers a question: the first that does.
    pub(super) fn claim(&mut self, now: Instant, cookie: u64) -> bool {
        self.forget(now);
        self.open.remove(&cookie).is_some()
    }

    /// Forgets questions that nobody waits for any more.
    fn forget(&mut self, now: Instant) {
        while let Some((at, cookie)) = self.sent.front().copied().filter(|(at, _)| now.since(*at) >= LIFETIME) {
            self.sent.pop_front();
            self.close(at, cookie);
        }
        // A burst, as when a member joins, is over soon; there may be thousands of members in a process.
        if self.sent.capacity() > SPARE.max(4 * self.sent.len()) {
            self.sent.shrink_to(2 * self.sent.len());
        }
    }

    /// The question that was sent then is open no more; a later one may have the same cookie.
    fn close(&mut self, at: Instant, cookie: u64) {
        if self.open.get(&cookie) == Some(&at) {
            self.open.remove(&cookie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Instant = Instant::from_millis;

    #[test]
    fn each_question_has_one_answer() {
        let mut asked = Asked::default();
        assert!(!asked.claim(MS(0), 5));
        asked.note(MS(0), 5);
        assert!(!asked.claim(MS(0), 6));
        assert!(asked.claim(MS(1), 5));
        assert!(!asked.claim(MS(1), 5), "a second time");
    }

    #[test]
    fn questions_age() {
        let mut asked = Asked::default();
        asked.note(MS(0), 1);
        asked.note(MS(1500), 2);
        assert!(!asked.claim(MS(2000), 1), "the directory does not wait for it any more");
        assert!(asked.claim(MS(2000), 2));
        // Asked anew with the same cookie: the former question takes nothing from the later one.
        asked.note(MS(2000), 3);
        asked.note(MS(3000), 3);
        assert!(asked.claim(MS(4500), 3));
        assert_eq!((asked.open.len(), asked.sent.len()), (0, 1));
    }

    #[test]
    fn bursts_leave_no_memory_behind() {
        let mut asked = Asked::default();
        (0..1000).for_each(|cookie| asked.note(MS(0), cookie));
        asked.note(MS(2000), 1);
        assert!(asked.sent.capacity() <= SPARE, "{}", asked.sent.capacity());
    }

    #[test]
    fn only_open_questions_count() {
        let mut asked = Asked::default();
        asked.note(MS(0), 1);
        for cookie in 2..6000 {
            asked.note(MS(0), cookie);
            assert!(asked.claim(MS(0), cookie));
            assert!(asked.sent.len() <= 2 * MOST);
        }
        assert!(asked.claim(MS(0), 1), "answered ones have taken its place");
        (0..5000).for_each(|cookie| asked.note(MS(0), cookie));
        assert_eq!((asked.open.len(), asked.sent.len()), (MOST, MOST));
        assert!(asked.claim(MS(0), 4999) && asked.claim(MS(0), 5000 - MOST as u64));
        assert!(!asked.claim(MS(0), 4999 - MOST as u64));
    }
}
