//! The client: many sessions that do what the test says.
//!
//! In: the job and commands of ts.mjs, as JSON lines on stdin. Out: JSON lines on stdout. State: the sessions, and what
//! each was asked and told. May not: know what is right.

#![expect(deprecated, reason = "sampling is deprecated in the modern revision, and still to be answered")]

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, ElicitationAction, ErrorData, Implementation, ProgressNotificationParam, ProtocolVersion,
    SamplingMessage,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, RequestContext, RoleClient, RunningService,
};
use rmcp::transport::StreamableHttpClientTransport;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// What a session was asked and told by the server.
#[derive(Default)]
struct Heard {
    asked: Vec<Value>,
    progress: Vec<Value>,
}

/// The client side of a session.
#[derive(Clone)]
struct Client {
    name: String,
    heard: Arc<Mutex<Heard>>,
}

impl Client {
    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().expect("nothing panics under this lock")
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let capabilities: ClientCapabilities =
            serde_json::from_value(json!({ "sampling": {}, "elicitation": { "form": {} } })).expect("capabilities");
        ClientConfig::new(capabilities, Implementation::new(format!("hub-test-{}", self.name), "1.0.0"))
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let params = json!(params);
        let prompt = params["messages"][0]["content"]["text"].as_str().unwrap_or_default();
        self.heard().asked.push(json!(prompt));
        let answer = SamplingMessage::assistant_text(format!("{} was asked: {prompt}", self.name));
        Ok(CreateMessageResult::new(answer, format!("model-of-{}", self.name)))
    }

    async fn create_elicitation(
        &self,
        params: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let params = json!(params);
        self.heard().asked.push(params["message"].clone());
        let required = params["requestedSchema"]["required"].as_array().into_iter().flatten();
        let content: Value = required.filter_map(Value::as_str).map(|key| (key.to_owned(), json!(self.name))).collect();
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.heard().progress.push(json!([params.progress, params.total]));
    }
}

/// One open session with its steps.
struct Session {
    client: Client,
    service: RunningService<RoleClient, Client>,
    rounds: Value,
}

impl Session {
    async fn open(job: &Value, auto: bool) -> Result<Self, Box<dyn Error>> {
        let name = job["name"].as_str().ok_or("a session has a name")?.to_owned();
        let url = job["url"].as_str().ok_or("a session has a URL")?.to_owned();
        let client = Client { name, heard: Arc::default() };
        let lifecycle = if auto {
            ClientLifecycleMode::Auto { preferred_versions: vec![ProtocolVersion::V_2026_07_28], legacy_version: None }
        } else {
            ClientLifecycleMode::Initialize
        };
        let transport = StreamableHttpClientTransport::from_uri(url);
        let service = client.clone().serve_with_lifecycle(transport, lifecycle).await?;
        Ok(Self { client, service, rounds: job["rounds"].clone() })
    }

    fn version(&self) -> Value {
        self.service.peer_info().map_or(Value::Null, |info| json!(info.protocol_version))
    }

    /// Performs one step and gives what came back as text.
    async fn perform(&self, step: &Value) -> Result<Value, Box<dyn Error>> {
        match step["op"].as_str() {
            Some("tool") => {
                let call = json!({ "name": step["name"], "arguments": step["arguments"] });
                let result = json!(self.service.call_tool(serde_json::from_value(call)?).await?);
                let content = result["content"].as_array().into_iter().flatten();
                let texts: Vec<&str> = content.map(|block| block["text"].as_str().unwrap_or("<other>")).collect();
                Ok(json!({ "text": texts.join("\n"), "failed": result["isError"] == true }))
            }
            Some("tools") => {
                let mut names: Vec<_> =
                    self.service.list_all_tools().await?.into_iter().map(|tool| tool.name).collect();
                names.sort();
                Ok(json!({ "text": names.join(" ") }))
            }
            other => Err(format!("unknown op {other:?}").into()),
        }
    }

    async fn run(&self, step: &Value) {
        let mut result = json!({ "session": self.client.name, "step": step["id"] });
        match self.perform(step).await {
            Ok(Value::Object(outcome)) => result.as_object_mut().expect("made above").extend(outcome),
            Ok(other) => result["error"] = json!(format!("not an outcome: {other}")),
            Err(error) => result["error"] = json!(error.to_string()),
        }
        if step["progress"] == true {
            result["progress"] = json!(std::mem::take(&mut self.client.heard().progress));
        }
        println!("{}", json!({ "result": result }));
    }
}

/// Follows the job on stdin. `auto`: probes for the modern era first.
pub async fn run(auto: bool) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut next = async || -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&lines.next_line().await?.ok_or("the test is gone")?)?)
    };
    let job = next().await?;
    let mut sessions = Vec::new();
    for session in job["sessions"].as_array().into_iter().flatten() {
        sessions.push(Session::open(session, auto).await?);
    }
    let versions: BTreeMap<_, _> = sessions.iter().map(|session| (&session.client.name, session.version())).collect();
    println!("{}", json!({ "opened": versions }));
    loop {
        let command = next().await?;
        let Some(round) = command["round"].as_u64() else { break };
        // One after the other within a session: rmcp's progress does not say which call it belongs to.
        let all = sessions.iter().map(async |session| {
            let steps = session.rounds.get(round as usize).and_then(Value::as_array);
            for step in steps.into_iter().flatten() {
                session.run(step).await;
            }
        });
        together(all).await;
        println!("{}", json!({ "finished": round }));
    }
    let mut asked = BTreeMap::new();
    for session in sessions {
        session.service.cancel().await?;
        let heard = std::mem::take(&mut session.client.heard().asked);
        asked.insert(session.client.name, heard);
    }
    println!("{}", json!({ "closed": asked }));
    Ok(())
}

/// Waits for all, polling them side by side.
async fn together(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut left: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        left.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if left.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
