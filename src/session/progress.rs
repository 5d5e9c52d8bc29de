//! Progress of one call as its client must see it: its own token, and only ever increasing.
//!
//! In: a child's progress params, or silence. Out: params for the client. Owned by the call's stream. May not: send a
//! value that the server could still want to send, or one that is not above the last (2025-11-25,
//! basic/utilities/progress: "MUST increase").

use bytes::Bytes;
use tokio::time::Instant;

use crate::mcp::Raw;
use crate::mcp::splice::Object;
use crate::server::CallId;

/// The progress of one call whose client gave a token.
#[derive(Debug)]
pub struct Progress {
    /// Whose.
    pub call: CallId,
    /// When the client last heard of it.
    pub heard: Instant,
    token: Raw,
    last: Option<f64>,
    from_server: bool,
    beats: u32,
}

/// By how many representable numbers a beat exceeds the last value: more than common JSON parsers are off (`serde_json`
/// reads some numbers one too low or too high).
const STEP: u32 = 8;

impl Progress {
    /// Nothing sent yet; `token` is the client's own, raw.
    pub fn new(call: CallId, token: Raw, now: Instant) -> Self {
        Self { call, heard: now, token, last: None, from_server: false, beats: 0 }
    }

    /// The child's params with the client's token in them; `None` if the value does not increase.
    pub fn from_server(&mut self, params: &Raw, now: Instant) -> Option<Raw> {
        let object = Object::scan(params)?;
        let value: f64 = std::str::from_utf8(&object.get("progress")?).ok()?.parse().ok()?;
        if !value.is_finite() || self.last.is_some_and(|last| value <= last) {
            return None;
        }
        (self.last, self.from_server, self.heard) = (Some(value), true, now);
        Some(object.edit(&[("progressToken", Some(&self.token))]))
    }

    /// A sign of life during silence. Before the server's first value: -1, -1/2, -1/3 …, below any value a server starts
    /// with; afterwards a hair above the last one, which leaves the server every number it may want.
    pub fn beat(&mut self, now: Instant) -> Raw {
        self.beats = self.beats.saturating_add(1);
        let value = match self.last {
            Some(last) if self.from_server => (0..STEP).fold(last, |value, _| value.next_up()).min(f64::MAX),
            _ => -1.0 / f64::from(self.beats),
        };
        (self.last, self.heard) = (Some(value), now);
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(b"{\"progressToken\":");
        out.extend_from_slice(&self.token);
        // `{:?}` of an f64 is the shortest text that reads back as the same number.
        out.extend_from_slice(format!(",\"progress\":{value:?},\"message\":\"still working\"}}").as_bytes());
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn progress() -> Progress {
        Progress::new(CallId(1), Bytes::from_static(b"\"t\""), Instant::now())
    }

    fn value(params: &Raw) -> f64 {
        serde_json::from_slice::<serde_json::Value>(params).expect("json")["progress"].as_f64().expect("a number")
    }

    #[test]
    fn the_token_comes_back_and_the_rest_stays() {
        let params = Bytes::from_static(br#"{"progress":1.50,"progressToken":77,"total":3,"message":"x"}"#);
        let seen = progress().from_server(&params, Instant::now()).expect("increases");
        assert_eq!(seen, r#"{"progress":1.50,"progressToken":"t","total":3,"message":"x"}"#);
    }

    #[test]
    fn what_does_not_increase_is_dropped() {
        let mut progress = progress();
        let mut send = |text: &'static str| progress.from_server(&Bytes::from_static(text.as_bytes()), Instant::now());
        assert!(send(r#"{"progress":2,"progressToken":1}"#).is_some());
        assert!(send(r#"{"progress":2,"progressToken":1}"#).is_none());
        assert!(send(r#"{"progress":1,"progressToken":1}"#).is_none());
        assert!(send(r#"{"progress":"x","progressToken":1}"#).is_none());
        assert!(send(r#"{"progress":2.5,"progressToken":1}"#).is_some());
    }

    #[test]
    fn beats_before_the_first_value_leave_room_for_zero() {
        let mut progress = progress();
        let beats: Vec<f64> = (0..3).map(|_| value(&progress.beat(Instant::now()))).collect();
        assert_eq!(beats, [-1.0, -0.5, -1.0 / 3.0]);
        assert!(progress.from_server(&Bytes::from_static(b"{\"progress\":0}"), Instant::now()).is_some());
        assert_eq!(
            progress.beat(Instant::now()),
            &br#"{"progressToken":"t","progress":4e-323,"message":"still working"}"#[..]
        );
    }

    proptest! {
        #[test]
        fn always_increasing_as_the_client_reads_it(start in -1e9f64..1e9, steps in proptest::collection::vec((any::<bool>(), 1e-3f64..10.0), 1..60)) {
            let (mut progress, mut server, mut seen) = (progress(), start, Vec::new());
            for (beat, step) in steps {
                if beat {
                    seen.push(value(&progress.beat(Instant::now())));
                } else {
                    server += step;
                    let params = Bytes::from(format!("{{\"progress\":{server:?},\"progressToken\":1}}"));
                    let sent = progress.from_server(&params, Instant::now());
                    prop_assert!(sent.is_some() || server <= 0.0, "a real value is never dropped because of a beat");
                    seen.extend(sent.as_ref().map(value));
                }
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        }
    }
}
