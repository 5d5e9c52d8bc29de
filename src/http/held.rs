//! How many bytes of request bodies hub holds at once, over all listeners.
//!
//! In: the sizes of pieces as they arrive. Out: room for them, or a refusal. [`Bodies`] is shared by all connections; the
//! room that a body takes belongs to its bytes and ends with their last slice, wherever that is: in a body that is still
//! coming, in a queue of a server that starts, on its way into a pipe. May not: wait, or count what was only announced (a
//! lie about a length would cost others their room).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::limits::{HELD_BODIES_BYTES_MAX, HELD_BODIES_MAX, HELD_BODY_COUNTS_FROM_BYTES};

use super::respond::Refusal;

/// The bytes that are held now.
#[derive(Debug, Default)]
pub struct Bodies {
    held: AtomicUsize,
}

/// The room of one body. Given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    bodies: Arc<Bodies>,
    bytes: usize,
    max: usize,
}

/// A body with its room.
struct Held {
    bytes: Bytes,
    _room: Room,
}

impl Bodies {
    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Room for a body of nothing yet, where bodies may be `body_max` large.
    pub(super) fn room(self: &Arc<Self>, body_max: usize) -> Room {
        let max = HELD_BODIES_BYTES_MAX.max(body_max.saturating_mul(HELD_BODIES_MAX));
        Room { bodies: self.clone(), bytes: 0, max }
    }
}

impl Room {
    /// Takes room for a piece that has arrived.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let before = self.bodies.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before.saturating_add(bytes) > self.max { Err(Refusal::NoRoom) } else { Ok(()) }
    }

    /// The body whose room this is. Nothing is copied.
    pub(super) fn around(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Does a body of this size count? Small ones are bounded by their number.
pub(super) fn counts(bytes: usize) -> bool {
    bytes >= HELD_BODY_COUNTS_FROM_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_with_the_last_slice() {
        let bodies = Arc::new(Bodies::default());
        let mut room = bodies.room(1);
        room.grow(3).expect("room");
        room.grow(2).expect("room");
        let body = Bytes::from_static(b"abcde");
        let (from, slice) = (body.as_ptr(), room.around(body).slice(1..3));
        assert_eq!((slice.as_ptr(), &slice[..]), (from.wrapping_add(1), &b"bc"[..]), "not copied");
        assert_eq!(bodies.held(), 5, "the whole body is alive");
        let other = slice.clone();
        drop(slice);
        assert_eq!(bodies.held(), 5);
        drop(other);
        assert_eq!(bodies.held(), 0);
    }

    #[test]
    fn one_byte_over_the_limit_is_refused_and_gives_its_room_back() {
        let bodies = Arc::new(Bodies::default());
        let (mut first, mut second) = (bodies.room(1), bodies.room(1));
        first.grow(HELD_BODIES_BYTES_MAX).expect("exactly the limit");
        assert!(matches!(second.grow(1), Err(Refusal::NoRoom)));
        drop(second);
        assert_eq!(bodies.held(), HELD_BODIES_BYTES_MAX);
        drop(first);
        let large = HELD_BODIES_BYTES_MAX;
        let mut large = bodies.room(large);
        large.grow(HELD_BODIES_BYTES_MAX * HELD_BODIES_MAX).expect("the limit follows body_max");
        assert!(large.grow(1).is_err());
    }
}
