//! Questions of the directory, by their cookies: they tell the answers that this member waits for from those that anybody can
//! make up, before either takes the room of the other.

use alloc::collections::VecDeque;

use crate::base::time::Instant;
use crate::directory::LIFETIME;

/// Questions that are open at most: as many as the directory has under way. The oldest goes, whose answer is one among
/// others.
const MOST: usize = 1024;

/// Room for so many is not given back.
const SPARE: usize = 16;

/// Questions that have been sent and not been answered, for as long as the directory takes an answer: whoever is asked and
/// says nothing gathers no right to speak later.
///
/// A list that is searched, from the latest question on: most members have a few open, and an answer that somebody made up
/// costs a look at 16 KiB at worst. There may be thousands of members in a process.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Cookies, in the order in which they were sent.
    open: VecDeque<(Instant, u64)>,
}

impl Asked {
    /// Takes note of a question with this cookie, which is sent.
    pub(super) fn note(&mut self, now: Instant, cookie: u64) {
        self.forget(now);
        // A question that is asked again has one answer still.
        self.take(cookie);
        if self.open.len() >= MOST {
            self.open.pop_front();
        }
        self.open.push_back((now, cookie));
    }

    /// Returns `true` if an answer with this cookie answers a question: the first that does.
    pub(super) fn claim(&mut self, now: Instant, cookie: u64) -> bool {
        self.forget(now);
        let answered = self.take(cookie);
        // A burst, as when a member joins, is over soon.
        if self.open.capacity() > SPARE.max(4 * self.open.len()) {
            self.open.shrink_to(2 * self.open.len());
        }
        answered
    }

    /// Forgets questions that nobody waits for any more.
    fn forget(&mut self, now: Instant) {
        while self.open.front().is_some_and(|(at, _)| now.since(*at) >= LIFETIME) {
            self.open.pop_front();
        }
    }

    /// Takes the question with this cookie out, if it is open.
    fn take(&mut self, cookie: u64) -> bool {
        let at = self.open.iter().rposition(|(_, open)| *open == cookie);
        at.and_then(|at| self.open.remove(at)).is_some()
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
        assert!(asked.open.is_empty());
    }

    #[test]
    fn bursts_leave_no_memory_behind() {
        let mut asked = Asked::default();
        (0..1000).for_each(|cookie| asked.note(MS(0), cookie));
        (8..1000).for_each(|cookie| assert!(asked.claim(MS(1), cookie)));
        assert!(asked.open.capacity() <= 2 * SPARE, "{}", asked.open.capacity());
        assert!(!asked.claim(MS(2000), 1));
        assert!(asked.open.capacity() <= SPARE, "{}", asked.open.capacity());
    }

    #[test]
    fn only_open_questions_count() {
        let mut asked = Asked::default();
        asked.note(MS(0), 1);
        for cookie in 2..6000 {
            asked.note(MS(0), cookie);
            assert!(asked.claim(MS(0), cookie));
        }
        assert!(asked.claim(MS(0), 1), "answered ones have taken its place");
        (0..5000).for_each(|cookie| asked.note(MS(0), cookie));
        assert_eq!(asked.open.len(), MOST);
        assert!(asked.claim(MS(0), 4999) && asked.claim(MS(0), 5000 - MOST as u64));
        assert!(!asked.claim(MS(0), 4999 - MOST as u64));
    }
}
