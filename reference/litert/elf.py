"""Writes a shared library with nothing in it, for Linux on x86_64.

Qualcomm's plugin for LiteRT is linked against `libQnnLpai.so`, the backend of Qualcomm's audio
processor, and the loader refuses the plugin where it finds no library of that name. QAIRT as
onnxruntime-qnn brings it has none. Nothing of it is called to compile for an NPU, and no symbol of
it is asked for, so an empty library serves; users need not have a C compiler to make one.
"""

import struct
from pathlib import Path

_HEADER, _SEGMENT, _SYMBOL, _ENTRY = "<16sHHIQQQIHHHHHH", "<IIQQQQQQ", "<IBBHQQ", "<qQ"
_SHARED_OBJECT, _X86_64 = 3, 62
_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_READ_WRITE, _PAGE = 6, 0x1000
_NULL, _STRINGS, _SYMBOLS, _STRINGS_SIZE, _SYMBOL_SIZE, _SONAME = 0, 5, 6, 10, 11, 14


def write_empty_library(path: Path) -> None:
    """Writes the library to `path`, under the name of the file.

    One segment of its headers, the empty first symbol, its name, and the table that the loader
    reads; and a note that its stack need not be executable, without which some loaders refuse it.
    """
    header, segment, symbol = (struct.calcsize(part) for part in (_HEADER, _SEGMENT, _SYMBOL))
    symbols = header + 3 * segment
    strings = symbols + symbol
    names = b"\0" + path.name.encode() + b"\0"
    names += bytes(-(strings + len(names)) % 8)
    dynamic = strings + len(names)
    entries = (
        (_SONAME, 1),
        (_STRINGS, strings),
        (_STRINGS_SIZE, len(names)),
        (_SYMBOLS, symbols),
        (_SYMBOL_SIZE, symbol),
        (_NULL, 0),
    )
    table = b"".join(struct.pack(_ENTRY, *entry) for entry in entries)
    size = dynamic + len(table)
    mark = b"\x7fELF\x02\x01\x01"  # 64 bits, little end first, version 1
    content = struct.pack(
        _HEADER, mark, _SHARED_OBJECT, _X86_64, 1, 0, header, 0, 0, header, segment, 3, 64, 0, 0
    )
    for kind, start, length, align in (
        (_LOAD, 0, size, _PAGE),
        (_DYNAMIC, dynamic, len(table), 8),
        (_STACK, 0, 0, 16),
    ):
        content += struct.pack(
            _SEGMENT, kind, _READ_WRITE, start, start, start, length, length, align
        )
    path.write_bytes(content + bytes(symbol) + names + table)
