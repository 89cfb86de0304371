"""Text from outside (file names, server answers, entries of a store) made fit for terminals, logs and JSON.

File names are bytes: Python shows bytes that are not UTF-8 as lone surrogates, which no encoder takes. Control
characters move the cursor, colour or forge lines of a terminal; bidirectional controls reverse what is read.
"""

from __future__ import annotations

import unicodedata

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FIRST_RAW_BYTE, _LAST_RAW_BYTE = 0xDC80, 0xDCFF  # how surrogateescape (PEP 383) keeps a byte that is not UTF-8


def printable(text: object) -> str:
    r"""`text` on one line, with every character that is not plainly visible written as an escape.

    >>> printable("part\x1b[2J\udcff.png")
    'part\\x1b[2J\\xff.png'
    """
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_shown(character) for character in plain)


def printable_lines(text: object) -> str:
    """As `printable`, but several lines stay lines; those after the first are indented, so that none looks like ours.

    For messages that are built of several lines on purpose.
    """
    first, *others = str(text).split("\n")
    return "\n".join([printable(first), *(f"  {printable(line.strip())}" for line in others)])


def printable_block(text: object) -> str:
    """As `printable`, but lines stay as they are: for text that we laid out ourselves."""
    return "\n".join(map(printable, str(text).split("\n")))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _ESCAPED:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if _FIRST_RAW_BYTE <= code <= _LAST_RAW_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
