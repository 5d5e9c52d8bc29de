"""Drives many sessions with the Python package `mcp`, 1.30 or 2.3, whichever its interpreter has, or with `fastmcp`.

`py.py NAME`, NAME being the client's of tests/real/driver.rs. A thin executor: what to do comes in, what came back goes out, and the Rust test that started it judges. The lines on
stdin and stdout are those of ts.mjs.
"""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

import mcp
from mcp import types
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client

MODERN = int(version("mcp").split(".")[0]) >= 2
STEP_TIMEOUT = 90  # seconds


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def texts(blocks):
    def text(block):
        return getattr(block, "text", None) or f"<{getattr(block, 'type', 'blob')}>"

    return "\n".join(text(block) for block in blocks)


class Session:
    """One session: its connected client, and what it was asked for by the server."""

    def __init__(self, job):
        self.name, self.url, self.rounds = job["name"], job["url"], job["rounds"]
        self.asked = []
        self.client = None
        self.version = None

    async def on_sampling(self, _context, params):
        content = params.messages[0].content
        prompt = texts(content if isinstance(content, list) else [content])
        self.asked.append(prompt)
        answer = types.TextContent(type="text", text=f"{self.name} was asked: {prompt}")
        return types.CreateMessageResult(role="assistant", model=f"model-of-{self.name}", content=answer)

    async def on_elicitation(self, _context, params):
        self.asked.append(params.message)
        schema = params.requested_schema if MODERN else params.requestedSchema
        return types.ElicitResult(action="accept", content=dict.fromkeys(schema["required"], self.name))

    @asynccontextmanager
    async def connected(self):
        callbacks = {"sampling_callback": self.on_sampling, "elicitation_callback": self.on_elicitation}
        info = types.Implementation(name=f"hub-test-{self.name}", version="1.0.0")
        is_sse = self.url.endswith("/sse")  # the transport of 2024-11-05
        program = None
        if self.url.startswith("stdio "):
            command, *args = self.url.split(" ")[1:]
            program = StdioServerParameters(command=command, args=args, env=dict(os.environ))
        if MODERN:
            # No client cache: every step must reach hub.
            server = program or (sse_client(self.url) if is_sse else self.url)
            async with mcp.Client(server, client_info=info, cache=None, **callbacks) as self.client:
                self.version = self.client.protocol_version
                yield
        elif is_sse or program:
            async with stdio_client(program) if program else sse_client(self.url) as (read, write):
                async with mcp.ClientSession(read, write, client_info=info, **callbacks) as self.client:
                    self.version = (await self.client.initialize()).protocolVersion
                    yield
        else:
            from mcp.client.streamable_http import streamable_http_client

            async with streamable_http_client(self.url) as (read, write, _):
                async with mcp.ClientSession(read, write, client_info=info, **callbacks) as self.client:
                    self.version = (await self.client.initialize()).protocolVersion
                    yield

    async def call(self, name, arguments, on_progress):
        timeout = STEP_TIMEOUT if MODERN else timedelta(seconds=STEP_TIMEOUT)
        return await self.client.call_tool(name, arguments, timeout, on_progress)

    async def tools(self):
        return (await self.client.list_tools()).tools

    async def perform(self, step, progress):
        """Performs one step and gives what came back as text."""

        async def on_progress(done, total, _message):
            progress.append([done, total])

        client, op = self.client, step["op"]
        if op == "tool":
            callback = on_progress if step.get("progress") else None
            result = await self.call(step["name"], step["arguments"], callback)
            dump = result.model_dump(by_alias=True)
            return {
                "text": texts(result.content),
                "structured": dump.get("structuredContent"),
                "failed": bool(dump.get("isError")),
            }
        if op == "tools":
            return {"text": " ".join(sorted(tool.name for tool in await self.tools()))}
        if op == "resource":
            return {"text": texts((await client.read_resource(step["uri"])).contents)}
        if op == "prompt":
            result = await client.get_prompt(step["name"], step["arguments"])
            return {"text": texts(message.content for message in result.messages)}
        if op == "ping":
            if self.version <= "2025-11-25":  # later revisions have none
                await client.send_ping()
            return {"text": "pong"}
        raise ValueError(f"unknown op {op}")

    async def run(self, step):
        progress = []
        result = {"session": self.name, "step": step["id"], "progress": progress}
        try:
            result |= await asyncio.wait_for(self.perform(step, progress), STEP_TIMEOUT)
        except Exception as error:  # the judge decides what an error means
            code = getattr(getattr(error, "error", None), "code", "")
            result["error"] = f"{code} {type(error).__name__}: {error}"
        say({"result": result})

    async def live(self, opened, closing):
        """Opens, waits, closes: all in one task, as the SDK's cancel scopes want it."""
        async with self.connected():
            opened.set_result(self.version)
            await closing.wait()


class FastSession(Session):
    """The same with fastmcp's client."""

    @asynccontextmanager
    async def connected(self):
        import fastmcp

        async def sampling(messages, _params, context):
            return await self.on_sampling(context, types.CreateMessageRequestParams(messages=messages, max_tokens=1))

        async def elicitation(_message, _type, params, context):
            return await self.on_elicitation(context, params)

        info = types.Implementation(name=f"hub-test-{self.name}", version="1.0.0")
        handlers = {"sampling_handler": sampling, "elicitation_handler": elicitation}
        async with fastmcp.Client(self.url, client_info=info, timeout=STEP_TIMEOUT, **handlers) as self.client:
            self.version = self.client.protocol_version
            yield

    async def call(self, name, arguments, on_progress):
        return await self.client.call_tool_mcp(name, arguments, progress_handler=on_progress)

    async def tools(self):
        return await self.client.list_tools()


async def main():
    lines = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def following():
        line = await lines.readline()
        if not line:
            sys.exit("the test is gone")
        return json.loads(line)

    job = await following()
    kind = FastSession if sys.argv[1] == "fastmcp" else Session
    sessions = [kind(entry) for entry in job["sessions"]]
    closing = asyncio.Event()
    opened = [loop.create_future() for _ in sessions]
    lives = [asyncio.create_task(session.live(signal, closing)) for session, signal in zip(sessions, opened)]
    everyone = asyncio.gather(*opened)
    await asyncio.wait([everyone, *lives], return_when=asyncio.FIRST_COMPLETED)
    for life in lives:
        if life.done():
            life.result()  # raises what kept it from opening
    versions = await everyone
    say({"opened": {session.name: version for session, version in zip(sessions, versions)}})
    while not (command := await following()).get("close"):
        number = command["round"]
        await asyncio.gather(*(session.run(step) for session in sessions for step in session.rounds[number]))
        say({"finished": number})
    closing.set()
    await asyncio.gather(*lives)
    say({"closed": {session.name: session.asked for session in sessions}})


asyncio.run(main())
