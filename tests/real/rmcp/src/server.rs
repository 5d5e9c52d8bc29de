//! The dual-era server. Its tools answer as their namesakes in tests/conformance/tools.mjs.
//!
//! In: MCP on stdin. Out: MCP on stdout; a question to the client is a request in the legacy era and the call's own
//! `input_required` in the modern one, as rmcp leaves to its users. State: none. May not: know of hub.

#![expect(deprecated, reason = "sampling is deprecated in the modern revision, and still to be served")]

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateMessageRequest,
    CreateMessageRequestParams, ElicitRequest, ElicitRequestParams, ErrorData, InputRequest, InputRequests,
    InputRequiredResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion,
    SamplingMessage, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServiceError, ServiceExt};
use rmcp::{ServerHandler, transport};
use serde_json::{Value, json};

/// Serves until stdin ends.
pub async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    Peer.serve(transport::stdio()).await?.waiting().await?;
    Ok(())
}

struct Peer;

type Called = Result<CallToolResponse, ErrorData>;

impl ServerHandler for Peer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &'static str, description: &'static str, argument: Option<&str>| {
            let properties: Value =
                argument.map(|name| (name.to_owned(), json!({ "type": "string" }))).into_iter().collect();
            let required: Vec<&str> = argument.into_iter().collect();
            let schema = json!({ "type": "object", "properties": properties, "required": required });
            Tool::new(name, description, schema.as_object().cloned().unwrap_or_default())
        };
        Ok(ListToolsResult::with_all_items(vec![
            tool("test_simple_text", "Answers with one text", None),
            tool("test_tool_with_progress", "Reports progress three times", None),
            tool("test_elicitation", "Asks the client's user", Some("message")),
            tool("test_sampling", "Asks the client's model", Some("prompt")),
        ]))
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: RequestContext<RoleServer>) -> Called {
        let argument = |name: &str| {
            let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name));
            value.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| invalid(&format!("{name} is missing")))
        };
        match &*request.name {
            "test_simple_text" => text("This is a simple text response for testing."),
            "test_tool_with_progress" => progress(&context).await,
            "test_elicitation" => elicit(argument("message")?, &request, &context).await,
            "test_sampling" => sample(argument("prompt")?, &request, &context).await,
            other => Err(invalid(&format!("Unknown tool: {other}"))),
        }
    }
}

async fn progress(context: &RequestContext<RoleServer>) -> Called {
    for progress in [0.0, 50.0, 100.0] {
        if let Some(token) = context.meta.get_progress_token() {
            let params = ProgressNotificationParam::new(token, progress).with_total(100.0);
            context.peer.notify_progress(params).await.map_err(failed)?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    text("Progress reported.")
}

async fn elicit(message: String, request: &CallToolRequestParams, context: &RequestContext<RoleServer>) -> Called {
    let property = json!({ "type": "string" });
    let schema = json!({
        "type": "object",
        "properties": { "username": property, "email": property },
        "required": ["username", "email"],
    });
    let requested_schema = serde_json::from_value(schema).map_err(|error| invalid(&error.to_string()))?;
    let params = ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema };
    let answer = if !modern(context) {
        json!(context.peer.create_elicitation(params).await.map_err(failed)?)
    } else if let Some(answer) = answered(request) {
        answer
    } else {
        return ask(InputRequest::Elicitation(ElicitRequest::new(params)));
    };
    let action = answer["action"].as_str().unwrap_or_default();
    text(&format!("User response: action={action}, content={}", answer["content"]))
}

async fn sample(prompt: String, request: &CallToolRequestParams, context: &RequestContext<RoleServer>) -> Called {
    let params = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    let answer = if !modern(context) {
        json!(context.peer.create_message(params).await.map_err(failed)?)
    } else if let Some(answer) = answered(request) {
        answer
    } else {
        return ask(InputRequest::CreateMessage(CreateMessageRequest::new(params)));
    };
    text(&format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default()))
}

fn modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// The key of the one question of a call.
const KEY: &str = "question";

fn answered(request: &CallToolRequestParams) -> Option<Value> {
    request.input_responses.as_ref()?.get(KEY).cloned()
}

fn ask(question: InputRequest) -> Called {
    let requests = InputRequests::from([(KEY.to_owned(), question)]);
    Ok(InputRequiredResult::new(Some(requests), None).into())
}

fn text(text: &str) -> Called {
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
}

fn invalid(message: &str) -> ErrorData {
    ErrorData::invalid_params(message.to_owned(), None)
}

fn failed(error: ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}
