"""An engine of zero latency, and an ingest door: fixed answers over a bare HTTP/1.1 server.

`python -m bench.gateway.upstream PORT`
"""

import asyncio
import json
import sys

import uvloop

CHUNKS = 100
USAGE = {
    "prompt_tokens": 200,
    "completion_tokens": CHUNKS,
    "total_tokens": 200 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 0},
}


def event(number: int) -> bytes:
    """One chunk of about 290 bytes, running usage included, as vLLM writes it."""
    chunk = {
        "id": "chatcmpl-bench-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "tiny",
        "choices": [
            {"index": 0, "delta": {"content": "words "}, "logprobs": None, "finish_reason": None}
        ],
        "usage": USAGE | {"completion_tokens": number, "total_tokens": 200 + number},
    }
    if number == CHUNKS:
        chunk["choices"][0]["finish_reason"] = "length"
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def chunked(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


def whole_answer() -> bytes:
    body = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "words " * 100},
                "finish_reason": "length",
            }
        ],
        "usage": USAGE,
    }
    return plain(json.dumps(body).encode())


def plain(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CLOSING = json.dumps({"id": "x", "object": "x", "choices": [], "usage": USAGE}).encode()
EVENTS = [chunked(event(number)) for number in range(1, CHUNKS + 1)]
END = chunked(b"data: " + CLOSING + b"\n\n") + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
WHOLE = whole_answer()
DOOR = plain(b'{"accepted":0,"duplicates":0,"quarantined":[]}')


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if b"/usage/events" in head:
            self.transport.write(DOOR)
        elif b'"stream":true' in body.replace(b" ", b""):
            # One write a chunk and a tick: a reader sees them as an engine sends them.
            self.transport.write(HEAD)
            asyncio.get_running_loop().call_soon(self.stream, 0)
        else:
            self.transport.write(WHOLE)

    def stream(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if number == len(EVENTS):
            self.transport.write(END)
            return
        self.transport.write(EVENTS[number])
        asyncio.get_running_loop().call_later(0.002, self.stream, number + 1)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
