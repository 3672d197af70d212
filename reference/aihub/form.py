"""The file of a form as it arrives: nothing waits on disk for the rest, as big as it may be."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_BESIDE = 1 << 20


class MalformedError(Exception):
    """A body that is no form, or has no such file; the message is for the sender."""


async def file_of_form(
    content_type: str, body: AsyncIterator[bytes], field: str
) -> AsyncIterator[bytes]:
    """The bytes of the file called `field` in a `multipart/form-data` body.

    Raises MalformedError for what is no such body, at its end too: then it was cut short.
    """
    kind, parameters = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not parameters.get(b"boundary"):
        raise MalformedError("the data is to be sent as a form")
    parts = _Parts(field.encode())
    beside = 0  # of the file
    try:
        parser = MultipartParser(parameters[b"boundary"], parts.callbacks)
        async for chunk in body:
            parser.write(chunk)
            beside += len(chunk)
            for data in parts.taken():
                beside -= len(data)
                yield data
            if beside > _MOST_BESIDE:
                raise MalformedError(f"the form has more than {_MOST_BESIDE} bytes beside the file")
    except FormParserError as error:
        raise MalformedError(f"the form cannot be read: {error}") from None
    if not parts.ended:
        raise MalformedError("the form was cut short")
    if parts.found != 1:
        raise MalformedError(f"the form has {parts.found} files called {field!r}, not one")


class _Parts:
    """What the parser has come across: how many files of that name, and the data of them."""

    def __init__(self, field: bytes) -> None:
        self.found = 0
        self.ended = False
        self._field = field
        self._name, self._value = b"", b""
        self._inside = False
        self._data: list[bytes] = []
        self.callbacks: MultipartCallbacks = {
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def taken(self) -> list[bytes]:
        """The data since the last time."""
        data, self._data = self._data, []
        return data

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            if options.get(b"name") == self._field and b"filename" in options:
                self._inside = True
                self.found += 1
        self._name, self._value = b"", b""

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._data.append(data[start:end])

    def _on_part_end(self) -> None:
        self._inside = False

    def _on_end(self) -> None:
        self.ended = True
