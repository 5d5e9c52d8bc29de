//! Ids of events, as they stand in `id:` lines and in `Last-Event-ID`.
//!
//! In: text. Out: which message of which stream. Owns nothing. May not: accept what hub never wrote.

use super::stream::Kind;

/// The name of a stream or of a message in it, as event ids carry it: `<stream>-<seq>`, where a GET stream's number is
/// marked so that hub knows it for one even when it knows nothing else of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// What the stream is for.
    pub kind: Kind,
    /// The stream's number.
    pub stream: u64,
    /// The message's number; 0 before the first.
    pub seq: u64,
}

impl EventId {
    /// Reads an id that [`Self::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (stream, seq) = text.split_once('-')?;
        let (kind, number) = stream.strip_prefix('g').map_or((Kind::Post, stream), |number| (Kind::Get, number));
        // Numbers as hub writes them: Rust would also take a sign.
        let plain = |text: &str| !text.starts_with('+');
        (plain(number) && plain(seq)).then_some(())?;
        Some(Self { kind, stream: u64::from_str_radix(number, 16).ok()?, seq: seq.parse().ok()? })
    }

    /// The id's text.
    pub fn to_text(self) -> String {
        let mark = if self.kind == Kind::Get { "g" } else { "" };
        format!("{mark}{:x}-{}", self.stream, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids() {
        for kind in [Kind::Get, Kind::Post] {
            let event = EventId { kind, stream: 0x6_9a1b_2c30, seq: 12 };
            assert_eq!(EventId::parse(&event.to_text()), Some(event));
        }
        for bad in [
            "",
            "-",
            "nonsense",
            "1",
            "1-",
            "-1",
            "g-1",
            "x-1",
            "1-99999999999999999999",
            "+1-1",
            "1-+1",
            "g+1-1",
            "gg1-1",
        ] {
            assert_eq!(EventId::parse(bad), None, "{bad}");
        }
    }
}
