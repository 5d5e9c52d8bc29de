//! The messages of one event stream: delivery queue and replay store in one ring.
//!
//! In: messages with a weight. Out: messages in order, from wherever the reader stands. Owned by its `Stream`, behind
//! its lock. May not: know time, tasks or SSE; grow past the bounds of `limits` by more than one message.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::{SESSION_REPLAY_BYTES_MAX, STREAM_BYTES_MAX, STREAM_EVENTS_MAX};

/// One message as the pieces that make it up; empty ones count for nothing.
pub type Pieces = [Bytes; 3];

/// Length of a message in bytes.
pub fn byte_len(pieces: &Pieces) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// What may happen to a message when its reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Logs and progress: dropped first.
    Light,
    /// Asks and other notifications.
    Kept,
    /// A response: dropped last.
    Response,
}

/// A message at its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the stream: 1, 2, 3 …
    pub seq: u64,
    /// What may happen to it.
    pub weight: Weight,
    /// Its bytes.
    pub pieces: Pieces,
}

/// What became of a pushed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will be delivered.
    Queued,
    /// The reader is behind and this was light: dropped.
    Dropped,
    /// The reader is so far behind that only a new connection can catch up: its connection should end.
    Overflow,
}

/// See the module's header. A fresh ring stands before its first message.
#[derive(Debug)]
pub struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    last_seq: u64,
    /// The last message that the reader took.
    taken: u64,
    /// The newest message that was taken or not, but is lost to a replay. Light ones that were skipped do not count.
    lost: u64,
    /// Whether taken messages are kept for a resume.
    history: bool,
}

impl Ring {
    /// An empty ring; with `history`, taken messages stay for a resume.
    pub fn new(history: bool) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, last_seq: 0, taken: 0, lost: 0, history }
    }

    /// Bytes held now.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// The number of the newest message.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Whether the reader has something to take.
    pub fn has_next(&self) -> bool {
        self.entries.back().is_some_and(|entry| entry.seq > self.taken)
    }

    /// Whether the reader has yet to take the very same message.
    pub fn is_waiting(&self, message: &Bytes) -> bool {
        let waiting = self.entries.iter().rev().take_while(|entry| entry.seq > self.taken);
        waiting.into_iter().any(|entry| entry.pieces[0] == message && entry.pieces[1].is_empty())
    }

    /// Whether the reader is so far behind that light messages are dropped before they are made.
    pub fn is_behind(&self) -> bool {
        self.is_over(0) && self.entries.front().is_some_and(|oldest| oldest.seq > self.taken)
    }

    /// Adds a message, making room as the weights allow.
    pub fn push(&mut self, weight: Weight, pieces: Pieces) -> Pushed {
        let size = byte_len(&pieces);
        let mut outcome = Pushed::Queued;
        while self.is_over(size) && self.drop_taken() {}
        while self.is_over(size) && self.drop_light() {}
        if self.is_over(size) && self.has_next() {
            if weight == Weight::Light {
                return Pushed::Dropped;
            }
            outcome = Pushed::Overflow;
            while self.is_over(size) && self.drop_oldest_waiting() {}
        }
        self.last_seq += 1;
        self.bytes += size;
        self.entries.push_back(Entry { seq: self.last_seq, weight, pieces });
        outcome
    }

    /// The next message for the reader.
    pub fn take(&mut self) -> Option<Entry> {
        let index = self.entries.partition_point(|entry| entry.seq <= self.taken);
        let entry = self.entries.get(index)?.clone();
        self.taken = entry.seq;
        if !self.history || byte_len(&entry.pieces) > SESSION_REPLAY_BYTES_MAX {
            self.remove(index);
            self.lost = self.lost.max(entry.seq);
        }
        Some(entry)
    }

    /// Puts the reader back to just after `seq`. `false` if something after it is lost (or `seq` never was).
    pub fn rewind(&mut self, seq: u64) -> bool {
        let possible = seq <= self.last_seq && seq >= self.lost;
        if possible {
            self.taken = seq;
        }
        possible
    }

    /// As [`Self::rewind`], but as far back as there still is something: for streams where late is better than never.
    pub fn rewind_leniently(&mut self, seq: u64) {
        self.taken = seq.clamp(self.lost, self.last_seq.max(self.lost));
    }

    /// Drops what the reader has taken.
    pub fn drop_history(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.seq <= self.taken) {
            self.lose(0);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.lost = self.last_seq;
    }

    fn is_over(&self, more: usize) -> bool {
        self.entries.len() >= STREAM_EVENTS_MAX || self.bytes + more > STREAM_BYTES_MAX
    }

    /// Drops the oldest taken message that is no response. What was taken stands before what was not.
    fn drop_taken(&mut self) -> bool {
        let taken = self.taken;
        let candidate = self.entries.iter().position(|entry| entry.weight != Weight::Response);
        match candidate {
            Some(index) if self.entries[index].seq <= taken => {
                self.lose(index);
                true
            }
            _ => false,
        }
    }

    /// Drops the oldest light message that waits. The stream goes on as if it never was.
    fn drop_light(&mut self) -> bool {
        let index = self.entries.iter().position(|entry| entry.weight == Weight::Light && entry.seq > self.taken);
        index.map(|index| self.remove(index)).is_some()
    }

    fn drop_oldest_waiting(&mut self) -> bool {
        let index = self.entries.iter().position(|entry| entry.weight != Weight::Response && entry.seq > self.taken);
        index.map(|index| self.lose(index)).is_some()
    }

    fn lose(&mut self, index: usize) {
        self.lost = self.lost.max(self.entries[index].seq);
        self.remove(index);
    }

    fn remove(&mut self, index: usize) {
        if let Some(entry) = self.entries.remove(index) {
            self.bytes -= byte_len(&entry.pieces);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Weight::{Kept, Light, Response};
    use proptest::prelude::*;

    fn message(size: usize) -> Pieces {
        [Bytes::from(vec![b'x'; size]), Bytes::new(), Bytes::new()]
    }

    fn taken(ring: &mut Ring) -> Vec<u64> {
        std::iter::from_fn(|| ring.take()).map(|entry| entry.seq).collect()
    }

    #[test]
    fn replay_gives_the_exact_remainder() {
        let mut ring = Ring::new(true);
        for _ in 0..5 {
            ring.push(Kept, message(1));
        }
        assert_eq!(taken(&mut ring), [1, 2, 3, 4, 5]);
        assert!(ring.rewind(3));
        assert_eq!(taken(&mut ring), [4, 5]);
        assert!(ring.rewind(5));
        assert!(!ring.has_next());
        assert!(!ring.rewind(6), "never was");
    }

    #[test]
    fn without_history_nothing_stays() {
        let mut ring = Ring::new(false);
        ring.push(Kept, message(10));
        assert_eq!(taken(&mut ring), [1]);
        assert_eq!(ring.byte_len(), 0);
        assert!(!ring.rewind(0));
    }

    #[test]
    fn history_goes_before_anything_that_waits_and_responses_last() {
        let mut ring = Ring::new(true);
        ring.push(Response, message(10));
        ring.push(Kept, message(10));
        assert_eq!(taken(&mut ring), [1, 2]);
        for _ in 0..STREAM_EVENTS_MAX - 1 {
            assert_eq!(ring.push(Kept, message(1)), Pushed::Queued);
        }
        assert!(!ring.rewind(1), "2 is lost");
        assert_eq!(ring.entries[0].weight, Response);
    }

    #[test]
    fn a_slow_reader_loses_light_messages_first() {
        let mut ring = Ring::new(true);
        ring.push(Kept, message(1));
        for _ in 0..STREAM_EVENTS_MAX * 2 {
            assert_eq!(ring.push(Light, message(1)), Pushed::Queued);
        }
        assert_eq!(ring.entries.len(), STREAM_EVENTS_MAX);
        let last = ring.last_seq();
        assert_eq!(ring.push(Kept, message(1)), Pushed::Queued);
        let seen = taken(&mut ring);
        assert_eq!((seen[0], *seen.last().expect("some")), (1, last + 1));
    }

    #[test]
    fn a_slow_reader_of_kept_messages_overflows() {
        let mut ring = Ring::new(true);
        for _ in 0..STREAM_EVENTS_MAX {
            assert_eq!(ring.push(Kept, message(1)), Pushed::Queued);
        }
        assert_eq!(ring.push(Light, message(1)), Pushed::Dropped);
        assert_eq!(ring.push(Kept, message(1)), Pushed::Overflow);
        assert_eq!(ring.push(Response, message(1)), Pushed::Overflow);
        assert!(!ring.rewind(0));
        assert!(ring.rewind(2));
    }

    #[test]
    fn one_large_message_always_fits() {
        let mut ring = Ring::new(true);
        ring.push(Kept, message(1));
        assert_eq!(taken(&mut ring), [1]);
        assert_eq!(ring.push(Response, message(STREAM_BYTES_MAX * 2)), Pushed::Queued);
        assert_eq!(taken(&mut ring), [2]);
        assert!(ring.rewind(1), "the response can be had again");
        ring.push(Response, message(SESSION_REPLAY_BYTES_MAX + 1));
        assert_eq!(taken(&mut ring), [2, 3]);
        assert!(!ring.rewind(2), "too large to keep");
    }

    proptest! {
        #[test]
        fn bounded_and_in_order(steps in proptest::collection::vec((0u8..5, 0usize..200_000), 1..400)) {
            let mut ring = Ring::new(true);
            let mut last = 0;
            for (kind, size) in steps {
                match kind {
                    0 => { ring.push(Light, message(size)); }
                    1 => { ring.push(Kept, message(size)); }
                    2 => { ring.drop_history(); }
                    _ => if let Some(entry) = ring.take() {
                        prop_assert!(entry.seq > last);
                        last = entry.seq;
                    }
                }
                prop_assert!(ring.entries.len() <= STREAM_EVENTS_MAX);
                prop_assert!(ring.byte_len() <= STREAM_BYTES_MAX);
                prop_assert_eq!(ring.byte_len(), ring.entries.iter().map(|e| byte_len(&e.pieces)).sum::<usize>());
            }
        }
    }
}
