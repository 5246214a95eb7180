"""Files of any size leave in pieces, whichever server runs the console."""

import io

from django.test import AsyncRequestFactory, RequestFactory

from tenants.base.files import CHUNK, answer_file

CONTENT = b"x" * (CHUNK * 2 + 5)


def answered(request):
    data = io.BytesIO(CONTENT)
    answer = answer_file(
        request, data, filename="charges.csv", size=len(CONTENT), content_type="text/csv"
    )
    assert answer["Content-Disposition"] == 'attachment; filename="charges.csv"'
    assert answer["Content-Length"] == str(len(CONTENT))
    assert answer["Content-Type"] == "text/csv"
    return answer, data


async def test_it_sends_a_file_in_pieces_behind_an_asgi_server():
    answer, data = answered(AsyncRequestFactory().get("/"))
    pieces = [piece async for piece in answer]
    assert [len(piece) for piece in pieces] == [CHUNK, CHUNK, 5]
    assert b"".join(pieces) == CONTENT
    assert data.closed


def test_it_sends_a_file_behind_a_wsgi_server():
    answer, _ = answered(RequestFactory().get("/"))
    assert b"".join(answer.streaming_content) == CONTENT
