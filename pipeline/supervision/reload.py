"""What may change while a line runs, cameras and recipe: what a changed line file means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from f2pnet.config import LineConfig
from f2pnet.errors import ConfigError


@dataclass(frozen=True)
class LineChanges:
    """Ids of cameras. One whose options changed is in `changed`: it is stopped and started anew."""

    added: list[str]
    removed: list[str]
    changed: list[str]

    def __str__(self) -> str:
        described = [f"{name} {', '.join(ids)}" for name, ids in vars(self).items() if ids]
        return "; ".join(described) or "no camera changed"

    @property
    def leaving(self) -> list[str]:
        return [*self.removed, *self.changed]

    @property
    def arriving(self) -> list[str]:
        return [*self.added, *self.changed]


def line_changes(old: LineConfig, new: LineConfig) -> LineChanges:
    """What is to be done to make the running line `old` the line `new`.

    Raises ConfigError when more than cameras (with their ports) and recipe differs, which needs a restart.
    """
    before, after = _without_changeable(old), _without_changeable(new)
    if different := sorted(name for name in {*before, *after} if before.get(name) != after.get(name)):
        raise ConfigError(
            f"only cameras and the recipe can be changed while the line runs; {', '.join(different)} changed too: put "
            "that back, or stop and start the line"
        )
    was = {camera.id: camera for camera in old.cameras}
    will_be = {camera.id: camera for camera in new.cameras}
    return LineChanges(
        added=[name for name in will_be if name not in was],
        removed=[name for name in was if name not in will_be],
        changed=[name for name in will_be if name in was and will_be[name] != was[name]],
    )


def _without_changeable(line: LineConfig) -> dict[str, Any]:
    content = line.model_dump(exclude={"cameras", "recipe"})
    content["transport"].pop("ports", None)
    return content
