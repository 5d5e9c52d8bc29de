//! The few method names that hub must know; every other passes as it is.
//!
//! In: a name. Out: [`Method`]. Owns nothing. May not: refuse a name it does not know.

use bytes::Bytes;

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// A JSON-RPC method name.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[allow(missing_docs, clippy::allow_attributes, reason = "each variant is the method of the same name")]
        pub enum Method {
            $($(#[$doc])* $variant,)*
            /// A method hub has no rule for.
            Other(Bytes),
        }

        impl Method {
            /// Looks the name up.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    other => Self::Other(Bytes::copy_from_slice(other.as_bytes())),
                }
            }

            /// The name on the wire.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => std::str::from_utf8(name).unwrap_or_default(),
                }
            }
        }
    };
}

methods! {
    Initialize = "initialize",
    Initialized = "notifications/initialized",
    Ping = "ping",
    Discover = "server/discover",
    Listen = "subscriptions/listen",
    ListenAcknowledged = "notifications/subscriptions/acknowledged",
    ToolsList = "tools/list",
    ToolsCall = "tools/call",
    PromptsList = "prompts/list",
    PromptsGet = "prompts/get",
    ResourcesList = "resources/list",
    TemplatesList = "resources/templates/list",
    ResourcesRead = "resources/read",
    Subscribe = "resources/subscribe",
    Unsubscribe = "resources/unsubscribe",
    Complete = "completion/complete",
    SetLevel = "logging/setLevel",
    TasksGet = "tasks/get",
    TasksResult = "tasks/result",
    TasksList = "tasks/list",
    TasksCancel = "tasks/cancel",
    TasksUpdate = "tasks/update",
    RootsList = "roots/list",
    Sampling = "sampling/createMessage",
    Elicitation = "elicitation/create",
    Cancelled = "notifications/cancelled",
    Progress = "notifications/progress",
    LogMessage = "notifications/message",
    ToolsChanged = "notifications/tools/list_changed",
    PromptsChanged = "notifications/prompts/list_changed",
    ResourcesChanged = "notifications/resources/list_changed",
    ResourceUpdated = "notifications/resources/updated",
    RootsChanged = "notifications/roots/list_changed",
    ElicitationComplete = "notifications/elicitation/complete",
    TasksStatus = "notifications/tasks/status",
    TasksNotification = "notifications/tasks",
}

impl Method {
    /// Whether its result may be `input_required` (2026-07-28, basic/patterns/mrtr): only these three wait for a client.
    pub fn may_need_input(&self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead)
    }

    /// The list that this method asks for, if it is one of the four list methods.
    pub fn list_kind(&self) -> Option<ListKind> {
        ListKind::ALL.into_iter().find(|kind| kind.method() == *self)
    }
}

/// The four lists of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListKind {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

impl ListKind {
    /// All four, in a fixed order.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The method that asks for it.
    pub fn method(self) -> Method {
        match self {
            Self::Tools => Method::ToolsList,
            Self::Prompts => Method::PromptsList,
            Self::Resources => Method::ResourcesList,
            Self::Templates => Method::TemplatesList,
        }
    }

    /// The member of the result that holds the items.
    pub fn items_key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The notification that says it changed. Templates change with resources.
    pub fn changed(self) -> Method {
        match self {
            Self::Tools => Method::ToolsChanged,
            Self::Prompts => Method::PromptsChanged,
            Self::Resources | Self::Templates => Method::ResourcesChanged,
        }
    }

    /// The server capability that it needs.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}
