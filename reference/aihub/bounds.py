"""How much a request may say: what is longer is refused before anything reads it."""

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from reference.aihub.problems import Oversized, Refused

MESSAGE_BYTES = 1 << 20  # one with a thousand input specs takes a tenth of it
FORM_BYTES = 1 << 14  # the forms of the pages, and what somebody without a token may send
_TEXT, _LIST = 1_000, 1_000
_LONG = {"options": 10_000}


async def read_body(request: Request, limit: int = MESSAGE_BYTES) -> bytes:
    """A body in memory; raises Oversized for one of more than `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise Oversized(f"the body is too large for a message: more than {limit} bytes")
    return bytes(body)


def check_address(request: Request) -> None:
    """Raises Refused for a part of the path, or of the query, that is too long."""
    texts = [*request.path_params.items(), *request.query_params.multi_items()]
    for name, text in texts:
        _check_text(str(name), str(name))
        _check_text(str(name), str(text))


def check_message(message: Any) -> None:
    """Raises Refused where a text of the message, or a list, is too long."""
    for field, value in message.ListFields():
        many = not isinstance(value, str | bytes) and hasattr(value, "__len__")
        if many and len(value) > _LIST:
            raise Refused(f"{field.name} has {len(value)} entries, and at most {_LIST} are taken")
        for each in _leaves(value) if many else [value]:
            if isinstance(each, str | bytes):
                _check_text(field.name, each)
            elif hasattr(each, "ListFields"):
                check_message(each)


def _leaves(value: Any) -> Iterable[Any]:
    """The members of a list, the keys and values of a map."""
    return [*value.keys(), *value.values()] if hasattr(value, "values") else value


def _check_text(name: str, text: str | bytes) -> None:
    most = _LONG.get(name, _TEXT)
    if len(text) > most:
        raise Refused(f"{name[:40]} has {len(text)} characters, and at most {most} are taken")
