"""Answering with a file of any size, without holding it in memory."""

from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, StreamingHttpResponse

CHUNK = 256 * 1024


def answer_file(
    request: HttpRequest, data: BinaryIO, *, filename: str, size: int, content_type: str
) -> StreamingHttpResponse:
    """Send an open file, which is closed at the end or when the client leaves.

    Behind an ASGI server Django would read a plain iterator to its end before the first byte.
    """
    if not isinstance(request, ASGIRequest):
        return FileResponse(data, as_attachment=True, filename=filename, content_type=content_type)
    answer = StreamingHttpResponse(read(data), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    answer["Content-Length"] = str(size)
    return answer


async def read(data: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while chunk := await sync_to_async(data.read, thread_sensitive=False)(CHUNK):
            yield chunk
    finally:
        data.close()


def answer_stream(
    request: HttpRequest, pieces: Iterator[bytes], *, filename: str, content_type: str
) -> StreamingHttpResponse:
    """Send what is made while it is sent. Its length is not known before."""
    content = drawn(pieces) if isinstance(request, ASGIRequest) else pieces
    answer = StreamingHttpResponse(content, content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


async def drawn(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """In the thread of the request, whose connection to the database ends with it."""
    while (piece := await sync_to_async(next_of)(pieces)) is not None:
        yield piece


def next_of(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
