//! Protocol revisions and the two eras.
//!
//! In: a revision string. Out: [`ProtocolVersion`], [`Era`]. Owns nothing. May not: hold a default era; era is a
//! property of one request and of one child.

use std::fmt;

/// How a peer opens: with `initialize` (legacy), or with `_meta` on each request (modern, from 2026-07-28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// Revisions up to 2025-11-25.
    Legacy,
    /// Revision 2026-07-28 and later.
    Modern,
}

impl Era {
    /// Its name, as in `status --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// A revision of the protocol that hub speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProtocolVersion {
    /// 2024-11-05: HTTP+SSE
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, batches, audio
    V2025_03_26,
    /// 2025-06-18: elicitation, structured content, no batches
    V2025_06_18,
    /// 2025-11-25: tasks, URL elicitation, primed streams
    V2025_11_25,
    /// 2026-07-28: stateless
    V2026_07_28,
}

impl ProtocolVersion {
    /// The newest revision that has an `initialize` handshake.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// All, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The revision that a string names exactly.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// What hub answers to a session's `initialize` (specification 2025-11-25, basic/lifecycle#version-negotiation):
    /// a legacy revision is echoed, a newer one gets the latest legacy, an older unknown one the oldest.
    pub fn negotiate(requested: &str) -> Self {
        match Self::parse(requested) {
            Some(version) if version.era() == Era::Legacy => version,
            _ if requested < Self::V2024_11_05.as_str() => Self::V2024_11_05,
            _ => Self::LATEST_LEGACY,
        }
    }

    /// Which era it belongs to.
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 { Era::Modern } else { Era::Legacy }
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation() {
        for (asked, given) in [
            ("2024-11-05", "2024-11-05"),
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
            ("2024-10-07", "2024-11-05"),
            ("2025-05-05", "2025-11-25"),
            ("nonsense", "2025-11-25"),
        ] {
            assert_eq!(ProtocolVersion::negotiate(asked).as_str(), given, "{asked}");
        }
    }
}
