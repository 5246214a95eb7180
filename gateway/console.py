"""The console as the second source of routing, for the time that Redis does not answer."""

from __future__ import annotations

import logging

import aiohttp
import msgspec

from gateway.contract.routing import WORKER_HEADER

log = logging.getLogger("gateway.console")

TIMEOUT = aiohttp.ClientTimeout(total=5.0, connect=1.0)


NOTHING = msgspec.Raw(b"null")


class _Answer(msgspec.Struct):
    version: int
    document: msgspec.Raw = NOTHING


_answers = msgspec.json.Decoder(_Answer)


class Console:
    def __init__(
        self, session: aiohttp.ClientSession, *, url: str, token: str, worker: str
    ) -> None:
        self._session, self._url = session, url
        self._headers = {"authorization": f"Bearer {token}", WORKER_HEADER: worker}

    async def routing(self, above: int) -> bytes | None:
        """The newest snapshot beyond a version. None: there is none, or the console is away."""
        if not self._url:
            return None
        try:
            async with self._session.get(
                self._url,
                params={"above": str(above)},
                headers=self._headers,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("the console cannot be asked for routing: %r", error)
            return None
        if response.status != 200:
            log.warning("the console answers %d when asked for routing", response.status)
            return None
        try:
            found = _answers.decode(raw)
        except msgspec.MsgspecError as error:
            log.warning("the console's answer about routing cannot be read: %s", error)
            return None
        raw = bytes(found.document)
        return raw if found.version > above and raw != bytes(NOTHING) else None
