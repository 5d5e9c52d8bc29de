//! Messages of a session that belong to no request, while nobody listens.
//!
//! In: notifications. Out: all of them, in order, when a GET stream opens. Owned by its session. May not: grow past
//! `OUTBOX_MESSAGES_MAX` or `OUTBOX_BYTES_MAX`, or keep two that say the same.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};
use crate::mcp::splice::Object;
use crate::mcp::{Method, Raw};

use super::ring::Weight;

/// What a message is about: a later one about the same thing replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A list changed: one per method.
    List(Method),
    /// A resource changed: one per URI.
    Resource(String),
    /// A task's status: one per task.
    Task(String),
    /// Nothing that could be said twice.
    Once,
}

impl About {
    /// What a notification is about.
    pub fn of(method: &Method, params: Option<&Raw>) -> Self {
        let member = |key: &str| params.and_then(Object::scan).and_then(|object| object.get_str(key));
        match method {
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged => Self::List(method.clone()),
            Method::ResourceUpdated => member("uri").map_or(Self::Once, Self::Resource),
            Method::TasksStatus => member("taskId").map_or(Self::Once, Self::Task),
            _ => Self::Once,
        }
    }
}

/// A message that waits.
#[derive(Debug)]
struct Waiting {
    about: About,
    weight: Weight,
    message: Bytes,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Outbox {
    /// Keeps a message; logs go first when there is no room, then the oldest.
    pub fn put(&mut self, about: About, weight: Weight, message: Bytes) {
        if about != About::Once
            && let Some(index) = self.waiting.iter().position(|waiting| waiting.about == about)
        {
            self.remove(index);
        }
        while self.waiting.len() >= OUTBOX_MESSAGES_MAX || self.bytes + message.len() > OUTBOX_BYTES_MAX {
            if self.waiting.is_empty() {
                return;
            }
            let light = self.waiting.iter().position(|waiting| waiting.weight == Weight::Light);
            self.remove(light.unwrap_or(0));
        }
        self.bytes += message.len();
        self.waiting.push_back(Waiting { about, weight, message });
    }

    /// All that waited, oldest first; the outbox is empty afterwards.
    pub fn drain(&mut self) -> impl Iterator<Item = (Weight, Bytes)> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| (waiting.weight, waiting.message))
    }

    fn remove(&mut self, index: usize) {
        if let Some(waiting) = self.waiting.remove(index) {
            self.bytes -= waiting.message.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(outbox: &mut Outbox) -> Vec<Bytes> {
        outbox.drain().map(|(_, message)| message).collect()
    }

    fn log(outbox: &mut Outbox, text: &str) {
        outbox.put(About::Once, Weight::Light, Bytes::copy_from_slice(text.as_bytes()));
    }

    #[test]
    fn one_per_thing() {
        let mut outbox = Outbox::default();
        let updated = |uri: &str| {
            let params = Bytes::from(format!("{{\"uri\":\"{uri}\"}}"));
            About::of(&Method::ResourceUpdated, Some(&params))
        };
        for (about, text) in [
            (About::of(&Method::ToolsChanged, None), "t1"),
            (updated("a"), "a1"),
            (About::of(&Method::PromptsChanged, None), "p1"),
            (updated("b"), "b1"),
            (About::of(&Method::ToolsChanged, None), "t2"),
            (updated("a"), "a2"),
        ] {
            outbox.put(about, Weight::Kept, Bytes::from_static(text.as_bytes()));
        }
        assert_eq!(messages(&mut outbox), ["p1", "b1", "t2", "a2"]);
        assert_eq!(messages(&mut outbox), [""; 0]);
    }

    #[test]
    fn logs_give_way_first() {
        let mut outbox = Outbox::default();
        outbox.put(About::Once, Weight::Kept, Bytes::from_static(b"kept"));
        for index in 0..OUTBOX_MESSAGES_MAX + 10 {
            log(&mut outbox, &index.to_string());
        }
        let all = messages(&mut outbox);
        assert_eq!((all.len(), &all[0][..], &all[1][..]), (OUTBOX_MESSAGES_MAX, &b"kept"[..], &b"11"[..]));
    }

    #[test]
    fn bytes_are_bounded() {
        let mut outbox = Outbox::default();
        let half = "x".repeat(OUTBOX_BYTES_MAX / 2);
        for _ in 0..3 {
            log(&mut outbox, &half);
        }
        assert_eq!(messages(&mut outbox).len(), 2);
        log(&mut outbox, &"x".repeat(OUTBOX_BYTES_MAX + 1));
        assert_eq!(messages(&mut outbox).len(), 0, "larger than all of it");
    }
}
