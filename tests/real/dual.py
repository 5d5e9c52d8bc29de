"""A dual-era stdio server on the Python package `mcp` 2.3, in the idiom of its users: resolvers say what to ask, and the
package asks as the connection's era has it. Its tools answer as their namesakes in tests/conformance/tools.mjs.
"""

from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, MCPServer, Resolve, Sample
from mcp.types import CreateMessageResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("hub-test-dual-python")


class User(BaseModel):
    username: str
    email: str


def ask_user(message: str) -> Elicit[User]:
    return Elicit(message, User)


def ask_model(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text=prompt))], max_tokens=100)


@server.tool(structured_output=False)
def test_simple_text() -> str:
    """Answers with one text"""
    return "This is a simple text response for testing."


@server.tool(structured_output=False)
async def test_tool_with_progress(ctx: Context) -> str:
    """Reports progress three times"""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100)
        await anyio.sleep(0.05)
    return "Progress reported."


@server.tool(structured_output=False)
def test_elicitation(message: str, user: Annotated[ElicitationResult[User], Resolve(ask_user)]) -> str:
    """Asks the client's user"""
    content = user.data.model_dump_json() if user.action == "accept" else "{}"
    return f"User response: action={user.action}, content={content}"


@server.tool(structured_output=False)
def test_sampling(prompt: str, answer: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
    """Asks the client's model"""
    return f"LLM response: {answer.content.text}"


server.run()
