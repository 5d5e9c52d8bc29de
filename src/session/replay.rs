//! How many bytes all streams hold for a resume, and which of them give way when that is too many.
//!
//! In: growth and shrinkage of rings; resumable streams in the order they began. Out: evictions. One [`Hub`] counts for
//! all sessions, one [`Account`] per session. May not: touch what was not read yet, except of finished streams.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{HUB_REPLAY_BYTES_MAX, SESSION_REPLAY_BYTES_MAX};

use super::stream::Stream;

/// The count over all sessions.
#[derive(Debug, Default)]
pub struct Hub {
    bytes: AtomicUsize,
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    /// Resumable ones, in the order they began.
    oldest_first: VecDeque<Weak<Stream>>,
    /// When nothing could be gained: not worth another look for a while.
    in_vain: Option<Instant>,
}

/// After a look in vain the next one is not before this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Hub {
    /// Bytes held by all streams.
    pub fn byte_len(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A stream can be resumed from now on.
    pub fn remember(&self, stream: &Arc<Stream>) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.oldest_first.front().is_some_and(|oldest| oldest.strong_count() == 0) {
            streams.oldest_first.pop_front();
        }
        streams.oldest_first.push_back(Arc::downgrade(stream));
    }

    /// Makes room until the bound holds: finished streams that nobody reads go whole, others lose what was read.
    pub fn make_room(&self, now: Instant) {
        if self.byte_len() <= HUB_REPLAY_BYTES_MAX {
            return;
        }
        let candidates: Vec<Arc<Stream>> = {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            if streams.in_vain.is_some_and(|last| now < last + LOOK_AGAIN) {
                return;
            }
            streams.oldest_first.retain(|stream| stream.strong_count() > 0);
            streams.oldest_first.iter().filter_map(Weak::upgrade).collect()
        };
        let over = || self.byte_len() > HUB_REPLAY_BYTES_MAX;
        for stream in candidates.iter().take_while(|_| over()) {
            if stream.finished_at().is_some() && !stream.is_read() {
                stream.close();
            } else {
                stream.drop_history();
            }
        }
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).in_vain = over().then_some(now);
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
