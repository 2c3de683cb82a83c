"""A way to read any content as an input file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from bydawn.core.problems import Problems
from bydawn.io import RowShape, open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bydawn.core.request import Request


class Reading(NamedTuple):
    """What came of reading an input: its good rows, and its problems as (line, message)."""

    requests: list[Request]
    problems: Problems

    @property
    def lines(self) -> list[int | None]:
        return [problem.line for problem in self.problems.kept]

    @property
    def messages(self) -> str:
        return "\n".join(str(problem) for problem in self.problems.kept)

    def fields(self, number: int = 0) -> dict[str, Any]:
        return msgspec.json.decode(msgspec.json.encode(self.requests[number].fields))


def read_file(path: Path, shape: RowShape | None = None) -> Reading:
    source = open_source(path, shape=shape or RowShape())
    problems = Problems(source.name)
    return Reading(list(source.requests(problems)), problems)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reading]:
    """Write content to a file and read it as an input."""

    def read(content: bytes | str, name: str = "in.jsonl", **shape: Any) -> Reading:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_file(path, RowShape(**shape))

    return read
