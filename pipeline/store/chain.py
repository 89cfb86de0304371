"""The hash chain over the stream of results (`publish.chain: true`): each entry seals all those before it.

An entry's link is its number, counted from 1, and the SHA-256 of the link before it and of the entry's own fields. The
newest link stands in a hash of its own, and the newest one that retention took away in another. So `f2p alerts verify`
finds entries that were deleted, changed, doubled, re-ordered or added by others.

It is no signature: whoever can write to the store can also compute links. Keep the newest link, which `verify` shows,
where the store's users can't write, and compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from f2pnet.alerts.stream import StreamEntry

LENGTH = hashlib.sha256().digest_size
EXAMPLES = 5


@dataclass(frozen=True)
class ChainHead:
    """The newest link. Number 0: the chain begins."""

    number: int = 0
    digest: bytes = bytes(LENGTH)

    @classmethod
    def parse(cls, text: bytes | None) -> ChainHead | None:
        """Read `as_text` back; None for text that is no link."""
        number, _, digest = (text or b"").partition(b":")
        try:
            found = cls(int(number), bytes.fromhex(digest.decode()))
        except ValueError:
            return None
        return found if number.isdigit() and len(found.digest) == LENGTH else None

    def as_text(self) -> str:
        return f"{self.number}:{self.digest.hex()}"


def next_link(head: ChainHead, fields: Iterable[str | bytes | int | float]) -> ChainHead:
    """The link of the entry behind `head`. `fields`: names and values as they are stored, without the link itself."""
    sealed = hashlib.sha256(head.digest)
    for value in fields:
        raw = value if isinstance(value, bytes) else str(value).encode()
        sealed.update(len(raw).to_bytes(8, "big"))
        sealed.update(raw)
    return ChainHead(head.number + 1, sealed.digest())


@dataclass
class ChainCheck:
    """Follows the chain through the entries as they stand in the stream. `head`: where it stands."""

    head: ChainHead
    begun_behind: tuple[int, int]
    """Id of the last entry from before the chain was kept."""
    length: int = 0
    problems: list[str] = field(default_factory=list)
    """Some of them, in words."""
    broken: int = 0

    def follow(self, entry: StreamEntry, order: tuple[int, int], fields: Iterable[str | bytes | int | float]) -> None:
        """Take in the next entry. `fields`: as for `next_link`."""
        if order <= self.begun_behind:
            return
        self.length += 1
        link = ChainHead.parse(entry.chain)
        if link is None:
            self._report(f"{entry.id} ({entry.frame_id}) has no link: the line did not write it")
            return
        if link.number > self.head.number + 1:
            self._report(f"{link.number - self.head.number - 1} entries before {entry.id} ({entry.frame_id}) are gone")
        elif link.number <= self.head.number:
            self._report(f"{entry.id} ({entry.frame_id}) stands twice or out of order")
        elif next_link(self.head, fields) != link:
            self._report(f"{entry.id} ({entry.frame_id}), or the entry before it, was changed")
        if link.number > self.head.number:
            self.head = link

    def end(self, newest: ChainHead) -> None:
        """Compare with the newest link that the line wrote."""
        if newest.number > self.head.number:
            self._report(f"the newest {newest.number - self.head.number} entries are gone")
        elif newest != self.head:
            self._report("the newest entry is not the one that the line wrote last")

    def _report(self, problem: str) -> None:
        self.broken += 1
        if len(self.problems) < EXAMPLES:
            self.problems.append(problem)
