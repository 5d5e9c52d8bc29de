//! The few `_meta` keys and other small members that hub reads or writes.
//!
//! In: raw params or results. Out: the values. Owns nothing. May not: keep what it read.

use super::Raw;
use super::splice::Object;

/// Names the task that a request or notification belongs to (2025-11-25, basic/utilities/tasks).
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// The revision of a request (2026-07-28, basic/index#_meta).
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client of a request can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client of a request is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The log messages that a request wants.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The `subscriptions/listen` that a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Who made a result.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The tasks extension of 2026-07-28 (SEP-2663), a key of `capabilities.extensions`.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The task that `params._meta` relates a message to.
pub fn related_task(params: &Raw) -> Option<String> {
    memchr::memmem::find(params, b"related-task")?;
    Object::scan(&Object::scan(&Object::scan(params)?.get("_meta")?)?.get(RELATED_TASK)?)?.get_str("taskId")
}

/// A log message's severity, least severe first (RFC 5424 names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// debug
    Debug,
    /// info
    Info,
    /// notice
    Notice,
    /// warning
    Warning,
    /// error
    Error,
    /// critical
    Critical,
    /// alert
    Alert,
    /// emergency
    Emergency,
}

impl Level {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Notice, "notice"),
        (Self::Warning, "warning"),
        (Self::Error, "error"),
        (Self::Critical, "critical"),
        (Self::Alert, "alert"),
        (Self::Emergency, "emergency"),
    ];

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(level, _)| *level)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn levels_round_trip() {
        for (level, name) in Level::ALL {
            assert_eq!((Level::parse(name), level.as_str()), (Some(level), name));
        }
        assert_eq!(Level::parse("Info"), None);
        assert!(Level::Debug < Level::Emergency);
    }

    #[test]
    fn related_tasks() {
        let params = Bytes::from_static(br#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t1"}}}"#);
        assert_eq!(related_task(&params).as_deref(), Some("t1"));
        assert_eq!(related_task(&Bytes::from_static(b"{\"x\":\"related-task\"}")), None);
    }
}
