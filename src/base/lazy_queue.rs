//! A queue whose memory is taken when it is needed.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// A queue that takes the place of a pointer as long as nothing was ever put into it, or since it was
/// [given back](Self::shrink).
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "hardly ever there, and every owner has the place for it")]
pub(crate) struct LazyQueue<T>(Option<Box<VecDeque<T>>>);

impl<T> Default for LazyQueue<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> LazyQueue<T> {
    /// The queue, made if there is none.
    #[inline]
    pub(crate) fn get_or_make(&mut self) -> &mut VecDeque<T> {
        self.0.get_or_insert_default()
    }

    /// The queue, as far as there is one.
    #[inline]
    pub(crate) fn get(&self) -> Option<&VecDeque<T>> {
        self.0.as_deref()
    }

    /// The queue, as far as there is one.
    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut VecDeque<T>> {
        self.0.as_deref_mut()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.get().map_or(0, VecDeque::len)
    }

    /// Places that there is memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.get().map_or(0, VecDeque::capacity)
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.get()?.front()
    }

    #[inline]
    pub(crate) fn back(&self) -> Option<&T> {
        self.get()?.back()
    }

    pub(crate) fn at(&self, index: usize) -> Option<&T> {
        self.get()?.get(index)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, value: T) {
        self.get_or_make().push_back(value);
    }

    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.get_mut()?.pop_front()
    }

    /// Removes all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        if let Some(queue) = self.get_mut() {
            queue.clear();
        }
    }

    /// Index of the first for which `before` is false, where that is so for all behind it.
    pub(crate) fn partition_point(&self, before: impl FnMut(&T) -> bool) -> usize {
        self.get().map_or(0, |queue| queue.partition_point(before))
    }

    /// Gives back memory that is not used.
    pub(crate) fn shrink(&mut self) {
        match self.get_mut() {
            Some(queue) if !queue.is_empty() => queue.shrink_to(0),
            _ => self.0 = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_with_the_first_and_given_back_with_the_last() {
        let mut queue = LazyQueue::default();
        assert_eq!((size_of_val(&queue), queue.is_empty(), queue.front()), (size_of::<usize>(), true, None));
        assert_eq!(queue.pop_front(), None);
        queue.clear();
        assert!(queue.get().is_none(), "nothing is made to be emptied");
        (0..10).for_each(|n| queue.push_back(n));
        assert_eq!(
            (queue.len(), queue.back(), queue.at(3), queue.partition_point(|n| *n < 7)),
            (10, Some(&9), Some(&3), 7)
        );
        queue.shrink();
        assert_eq!(queue.len(), 10, "and no value is lost");
        while queue.pop_front().is_some() {}
        assert!(queue.capacity() > 0);
        queue.shrink();
        assert!(queue.get().is_none());
    }
}
