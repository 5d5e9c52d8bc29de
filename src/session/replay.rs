//! How many bytes all streams hold for a resume, and which of them give way when that is too many.
//!
//! In: growth and shrinkage of rings; finished streams in the order they finished. Out: evictions. One [`Hub`] counts for
//! all sessions, one [`Account`] per session. May not: touch what was not read yet, except of finished streams.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::limits::{HUB_REPLAY_BYTES_MAX, SESSION_REPLAY_BYTES_MAX};

use super::stream::Stream;

/// The count over all sessions.
#[derive(Debug, Default)]
pub struct Hub {
    bytes: AtomicUsize,
    finished: Mutex<VecDeque<Weak<Stream>>>,
}

impl Hub {
    /// Bytes held by all streams.
    pub fn byte_len(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A stream finished and waits to be resumed: it is the last to go when room is short.
    pub fn finished(&self, stream: &Arc<Stream>) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        while finished.front().is_some_and(|oldest| oldest.strong_count() == 0) {
            finished.pop_front();
        }
        finished.push_back(Arc::downgrade(stream));
    }

    /// Empties finished streams, oldest first, until the bound holds.
    pub fn make_room(&self) {
        while self.byte_len() > HUB_REPLAY_BYTES_MAX {
            let oldest = self.finished.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match oldest {
                Some(stream) => stream.upgrade().inspect(|stream| stream.close()),
                None => return,
            };
        }
    }
}

/// The count of one session. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Account {
    bytes: Arc<AtomicUsize>,
    hub: Arc<Hub>,
}

impl Account {
    /// A new session's.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { bytes: Arc::default(), hub }
    }

    /// A ring of this session went from `before` to `after` bytes.
    pub fn moved(&self, before: usize, after: usize) {
        if after > before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
            self.hub.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
            self.hub.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Whether this session holds more than its share.
    pub fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > SESSION_REPLAY_BYTES_MAX
    }

    /// The count over all sessions.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}
