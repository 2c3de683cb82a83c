"""Records of many batches in row order; and no record at all rather than a wrong one."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.core.batch import Lane
from bydawn.core.model import ModelRef
from bydawn.core.result import Result
from bydawn.engine import merge
from bydawn.engine.decode import Task, after_end, decode_batch
from bydawn.engine.merge import result_lines
from bydawn.engine.replan import settle_rows
from bydawn.engine.rows import save_rows
from bydawn.errors import StoreDamaged
from bydawn.store import ledger
from bydawn.store.files import JobFiles
from bydawn.store.ledger import CANCELLED, FAILED, PENDING, STATUS_NAMES, SUCCEEDED, VOID, WAITING, Segment
from bydawn.store.records import NewBatch, Plan
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bydawn.store.records import BatchRecord

    Make = Callable[..., Any]

LANES = tuple(Lane(ModelRef("openai", name), "chat") for name in ("gpt-4o-mini", "gpt-4.1"))
ENDINGS = ("succeeded", "errored", "expired", "cancelled")


class Job:
    """A stored job whose batches are planned and then collected, as the engine does it.

    ``batches`` gives the ordinals and the lane of each; what belongs to none is VOID.
    """

    def __init__(
        self, folder: Path, plain: Any, *batches: tuple[Sequence[int], int], rows: int, width: int = 1
    ) -> None:
        self.plain = plain
        self.store = Store(folder / "bydawn.db", lambda: 0.0)
        self.files = JobFiles(folder, "job")
        self.files.create()
        self.store.create_job(job_id="job", fingerprint="f", name="n", realm="live", options="{}", source="s")
        entries = [(VOID, 0)] * (rows * width)
        planned = []
        for number, (ordinals, lane) in enumerate(batches, 1):
            planned.append(self.new(number, ordinals, lane))
            for ordinal in ordinals:
                entries[ordinal] = (PENDING, number)
        size = ledger.SEGMENT_ROWS
        for first in range(0, len(entries), size):
            part = entries[first : first + size]
            self.put(first // size, part)
        requests = sum(len(ordinals) for ordinals, _ in batches)
        self.store.commit_plan(
            "job", Plan(rows=rows, width=width, requests=requests, lanes=LANES, batches=tuple(planned))
        )

    def new(self, number: int, ordinals: Sequence[int], lane: int, **changes: Any) -> NewBatch:
        save_rows(self.files.rows(number), array("Q", ordinals))
        values = {"bytes": 1, "input_tokens": 1, "attempt": 1, "attempts_left": 1} | changes
        return NewBatch(
            number=number, lane=lane, tag=f"tag{number}", nonce=f"nonce{number}", rows=len(ordinals), **values
        )

    def put(self, number: int, entries: list[tuple[int, int]]) -> None:
        segment = Segment(number, bytearray(state for state, _ in entries), array("I", [own for _, own in entries]))
        self.store.put_segments("job", [segment])

    def batch(self, number: int) -> BatchRecord:
        return self.store.batches("job")[number - 1]

    def collect(
        self, number: int, outcomes: dict[int, str], *, event: str = "collect", waits: bool = False, raw: bytes = b""
    ) -> None:
        """Bring a batch to its end; ``outcomes`` by ordinal, a row without one is missing."""
        batch = self.batch(number)
        if event == "collect":
            batch = self.store.move_batch(batch, "send", sent_at_s=0.0)
            batch = self.store.move_batch(batch, "accepted", provider_batch_id=f"batch_{number}")
            batch = self.store.move_batch(batch, "end", end_reason="completed")
        ordinals = list(array("Q", self.files.rows(number).read_bytes()))
        for kind in ("output", "error"):
            lines = [
                msgspec.json.encode(
                    {
                        "id": f"{batch.nonce}-{ordinal}",
                        "outcome": outcome,
                        "text": f"{number}:{ordinal}",
                        "retry": waits,
                    }
                )
                for ordinal, outcome in reversed(outcomes.items())
                if (outcome == "succeeded") == (kind == "output")
            ]
            path = self.files.received(number, kind)
            path.write_bytes(b"".join(line + b"\r\n" for line in lines) + (raw if kind == "output" else b""))
        task = Task(
            batch=batch, lane=LANES[batch.lane], ordinals=ordinals, provider=self.plain, rates=None, may_retry=waits,
            received=tuple((kind, self.files.received(number, kind)) for kind in ("output", "error")),
            no_line=after_end("completed"), requests=self.files.requests(number), results=self.files.results(number),
            index=self.files.index(number), strays=self.files.strays(number),
        )  # fmt: skip
        collected = decode_batch(task)
        changed = settle_rows(batch, ordinals, collected.states, lambda part: self.store.segment("job", part))
        self.store.collect(batch, event, changed, waiting=collected.waiting, tally=collected.tally)

    def withdraw(self, number: int) -> None:
        batch = self.batch(number)
        ordinals = list(array("Q", self.files.rows(number).read_bytes()))
        states = bytearray([CANCELLED]) * len(ordinals)
        changed = settle_rows(batch, ordinals, states, lambda part: self.store.segment("job", part))
        self.store.collect(batch, "withdraw", changed, waiting=0)

    def lines(self, *, raw: bool = False) -> list[bytes]:
        return list(result_lines(self.store, self.files, self.store.job("job"), raw=raw))

    def results(self, *, raw: bool = False) -> list[Result]:
        return [msgspec.json.decode(line, type=Result) for line in self.lines(raw=raw)]

    def write_ids(self, *ids: str) -> None:
        self.files.ids.write_bytes(b"".join(msgspec.json.encode(text) + b"\n" for text in ids))


@pytest.fixture
def make_job(tmp_path: Path, plain: Any) -> Iterator[Make]:
    made = []

    def make(*batches: tuple[Sequence[int], int], rows: int, width: int = 1) -> Job:
        made.append(Job(tmp_path, plain, *batches, rows=rows, width=width))
        return made[-1]

    yield make
    for job in made:
        job.store.close()


def statuses(results: list[Result]) -> list[tuple[int, str, str | None]]:
    return [(result.row, result.status, result.text) for result in results]


def test_several_batches_become_one_file_in_row_order(make_job: Make) -> None:
    job = make_job((range(0, 6, 2), 0), (range(1, 6, 2), 1), rows=6)
    job.collect(2, {1: "succeeded", 3: "errored"})
    job.collect(1, {4: "succeeded", 0: "succeeded", 2: "succeeded"})
    assert statuses(job.results()) == [
        (0, "succeeded", "1:0"), (1, "succeeded", "2:1"), (2, "succeeded", "1:2"), (3, "failed", "2:3"),
        (4, "succeeded", "1:4"), (5, "failed", None),
    ]  # fmt: skip
    assert [result.model for result in job.results()] == ["openai/gpt-4o-mini", "openai/gpt-4.1"] * 3
    assert [result.provider_batch_id for result in job.results()] == ["batch_1", "batch_2"] * 3


def test_one_row_for_each_model_and_none_where_a_row_has_its_own(make_job: Make) -> None:
    job = make_job(([0, 2, 4], 0), ([1, 5], 1), rows=3, width=2)
    job.write_ids("a", "b", "c")
    job.collect(1, dict.fromkeys([0, 2, 4], "succeeded"))
    job.collect(2, dict.fromkeys([1, 5], "succeeded"))
    assert [(result.id, result.row, result.text) for result in job.results()] == [
        ("a", 0, "1:0"), ("a", 0, "2:1"), ("b", 1, "1:2"), ("c", 2, "1:4"), ("c", 2, "2:5"),
    ]  # fmt: skip


def test_rows_that_are_not_final_are_left_out(make_job: Make) -> None:
    job = make_job((range(3), 0), (range(3, 5), 0), rows=5)
    job.collect(1, {0: "succeeded", 1: "errored", 2: "succeeded"}, waits=True)
    assert statuses(job.results()) == [(0, "succeeded", "1:0"), (2, "succeeded", "1:2")]


def test_a_row_that_was_sent_again_has_the_answer_of_its_last_batch(make_job: Make) -> None:
    job = make_job((range(4), 0), rows=4)
    job.collect(1, {0: "succeeded", 1: "errored", 2: "succeeded", 3: "errored"}, waits=True)
    new = job.new(2, [1, 3], 0, attempt=2)
    segment = job.store.segment("job", 0)
    for ordinal in (1, 3):
        segment.states[ordinal], segment.owners[ordinal] = PENDING, 2
    job.store.replan(job.batch(1), [segment], [new])
    job.collect(2, {3: "succeeded", 1: "succeeded"})
    assert statuses(job.results()) == [(n, "succeeded", f"{1 + n % 2}:{n}") for n in range(4)]
    assert [result.attempts for result in job.results()] == [1, 2, 1, 2]


def test_a_batch_that_was_never_sent_says_so(make_job: Make) -> None:
    job = make_job((range(2), 0), rows=2)
    job.withdraw(1)
    first, second = job.results()
    assert (first.status, second.row, first.attempts, first.provider_batch_id) == ("cancelled", 1, 0, None)
    assert first.error is not None
    assert (first.error.kind, first.error.retryable) == ("cancelled", True)
    assert "before this request was sent" in first.error.message


def test_a_batch_that_was_refused_has_records_of_why(make_job: Make) -> None:
    job = make_job((range(2), 0), rows=2)
    batch = job.store.move_batch(job.batch(1), "send", sent_at_s=0.0)
    assert batch.state == "submitting"
    job.collect(1, {0: "errored"}, event="refuse")
    assert [(result.status, result.error.kind) for result in job.results() if result.error] == [
        ("failed", "server_error"),
        ("failed", "missing"),
    ]


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_row_that_was_given_up_is_cancelled_whatever_it_was_before(make_job: Make, was_sent: bool) -> None:
    """Failed, to be sent again, and cancelled before it was: the ledger has the last word, and there is one truth."""
    job = make_job((range(2), 0), rows=2)
    job.collect(1, {0: "errored", 1: "succeeded"}, waits=not was_sent)
    segment = job.store.segment("job", 0)
    assert segment.states[0] == (FAILED if was_sent else WAITING)
    segment.states[0] = CANCELLED
    job.store.put_segments("job", [segment])
    given_up, other = job.results()
    assert (given_up.status, given_up.error.kind if given_up.error else None) == ("cancelled", "cancelled")
    assert given_up.attempts == 1
    assert other.status == "succeeded"


UNICODE = ["", " ", "a\nb", "a\u2028b", "\x85", "\0", '"\\', "é", "𝄞", "x" * 5000, "\r", "0", "null"]


def test_ids_may_be_any_text(make_job: Make) -> None:
    job = make_job((range(len(UNICODE)), 0), rows=len(UNICODE))
    job.collect(1, dict.fromkeys(range(len(UNICODE)), "succeeded"))
    assert [result.id for result in job.results()] == [str(row) for row in range(len(UNICODE))]
    job.write_ids(*UNICODE)
    assert [result.id for result in job.results()] == UNICODE
    assert all(line.count(b"\n") == 1 for line in job.lines())


def test_ids_are_found_where_rows_before_have_no_result(make_job: Make) -> None:
    job = make_job(([1, 4], 0), ([0, 2, 3], 0), rows=5)
    job.write_ids("a", "b", "c", "d", "e")
    job.collect(1, {1: "succeeded", 4: "succeeded"})
    assert [(result.id, result.row) for result in job.results()] == [("b", 1), ("e", 4)]


def test_raw_lines_are_the_bytes_that_came(make_job: Make) -> None:
    job = make_job((range(3), 0), rows=3)
    job.collect(1, {0: "succeeded", 1: "errored"})
    raws = [line[line.index(b'"raw":') + 6 : -2] for line in job.lines(raw=True)]
    assert raws == [
        b'{"id":"nonce1-0","outcome":"succeeded","text":"1:0","retry":false}',
        b'{"id":"nonce1-1","outcome":"errored","text":"1:1","retry":false}',
        b"null",
    ]
    assert job.results(raw=True)[0].raw["text"] == "1:0"
    assert job.results()[0].raw is msgspec.UNSET


def test_raw_lines_that_were_cleaned_away_are_null(make_job: Make) -> None:
    job = make_job((range(2), 0), rows=2)
    job.collect(1, {0: "succeeded", 1: "errored"})
    job.files.drop_bodies()
    assert [(result.text, result.raw) for result in job.results(raw=True)] == [("1:0", None), ("1:1", None)]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"id":"nonce1-0","x":"\xff"}', '{"id":"nonce1-0","x":"\ufffd"}'),
        (b'\xef\xbb\xbf{"id":"nonce1-0"}', '\ufeff{"id":"nonce1-0"}'),
        (rb'{"id":"nonce1-0","x":"\ud800"}', r'{"id":"nonce1-0","x":"\ud800"}'),
    ],
)
def test_a_raw_line_that_is_no_json_is_given_as_text(make_job: Make, line: bytes, text: str) -> None:
    """The codec mends such lines; copied as they are they would break the whole output."""
    job = make_job((range(1), 0), rows=1)
    job.collect(1, {0: "succeeded"})
    job.files.received(1, "output").write_bytes(line + b"\n")
    index = bytearray(job.files.index(1).read_bytes())
    index[20:24] = (len(line) + 1).to_bytes(4, "little")
    job.files.index(1).write_bytes(index)
    assert job.results(raw=True)[0].raw == text


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), rows=st.integers(1, 20), width=st.integers(1, 2), read_whole=st.booleans())
def test_any_job_has_each_final_row_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, plain: Any, data: st.DataObject, rows: int, width: int, read_whole: bool
) -> None:
    """Over several segments, lanes and batches with holes; read at once or row by row."""
    owners = data.draw(st.lists(st.integers(0, 3), min_size=rows * width, max_size=rows * width))
    held = [[ordinal for ordinal, owner in enumerate(owners) if owner == number] for number in (1, 2, 3)]
    batches = [(ordinals, number % 2) for number, ordinals in enumerate(held) if ordinals]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "SEGMENT_ROWS", 8)
        patch.setattr(merge, "READ_WHOLE_BYTES", 10**6 if read_whole else 0)
        job = Job(tmp_path_factory.mktemp("job"), plain, *batches, rows=rows, width=width)
        expected = []
        for number, (ordinals, lane) in enumerate(batches, 1):
            if not data.draw(st.booleans()):
                continue
            outcomes = {ordinal: data.draw(st.sampled_from(ENDINGS)) for ordinal in ordinals}
            job.collect(number, outcomes)
            expected += [(ordinal, outcome, number, lane) for ordinal, outcome in outcomes.items()]
        found = [(result.row, result.status, result.text, result.model) for result in job.results(raw=True)]
        job.store.close()
    status = {"errored": "failed"}
    assert found == [
        (ordinal // width, status.get(outcome, outcome), f"{number}:{ordinal}", str(LANES[lane].model))
        for ordinal, outcome, number, lane in sorted(expected)
    ]


# Damage


@pytest.fixture
def whole(make_job: Make) -> Job:
    job = make_job((range(0, 6, 2), 0), ([1, 3, 5], 0), rows=6)
    job.collect(1, {0: "succeeded", 2: "errored", 4: "succeeded"})
    return job


@pytest.mark.parametrize("left", [0, 1, 40])
def test_damage_to_the_results_is_named(whole: Job, left: int) -> None:
    path = whole.files.results(1)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(StoreDamaged, match="batch 1"):
        whole.lines()


def test_damage_to_results_that_are_read_row_by_row_is_named(whole: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "READ_WHOLE_BYTES", 0)
    path = whole.files.results(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreDamaged, match="results of batch 1 are cut off"):
        whole.lines()


@pytest.mark.parametrize("left", [None, 0, 71])
def test_damage_to_the_index_is_named(whole: Job, left: int | None) -> None:
    path = whole.files.index(1)
    content = path.read_bytes()
    path.unlink() if left is None else path.write_bytes(content[:left])
    with pytest.raises(StoreDamaged, match=r"000001\.index"):
        whole.lines()


def test_damage_that_empties_the_index_or_takes_the_results_away_invents_no_answer(whole: Job) -> None:
    path = whole.files.index(1)
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    with pytest.raises(StoreDamaged, match="batch 1"):
        whole.lines()
    path.write_bytes(content)
    assert len(whole.lines()) == 3
    whole.files.results(1).unlink()
    with pytest.raises(StoreDamaged, match="batch 1"):
        whole.lines()


@pytest.mark.parametrize(("ordinal", "owner"), [(0, 2), (1, 1), (5, 1), (0, 9), (4, 2)])
def test_damage_to_the_ledger_gives_nobody_anothers_answer(whole: Job, ordinal: int, owner: int) -> None:
    whole.collect(2, {1: "succeeded", 3: "succeeded", 5: "succeeded"})
    segment = whole.store.segment("job", 0)
    segment.states[ordinal], segment.owners[ordinal] = SUCCEEDED, owner
    whole.store.put_segments("job", [segment])
    with pytest.raises(StoreDamaged):
        whole.lines()


def test_damage_to_the_rows_of_a_batch_is_named(whole: Job) -> None:
    whole.files.rows(1).write_bytes(bytes(8))
    with pytest.raises(StoreDamaged, match=r"000001\.rows"):
        whole.lines()


@pytest.mark.parametrize("content", [b"", b'"a"\n"b"\n', b'"a"\n"b"\n"c"\n"d"\n"e', b'"a"\n"b"\n"c"\n"d"\n"e"'])
def test_damage_to_the_ids_is_named(whole: Job, content: bytes) -> None:
    """Row 4 has the last result. An id that is cut off would make the line no JSON, or name another row."""
    whole.files.ids.write_bytes(content)
    with pytest.raises(StoreDamaged, match="ids"):
        whole.lines()


def test_files_are_closed_when_a_reader_stops_early(whole: Job) -> None:
    lines = result_lines(whole.store, whole.files, whole.store.job("job"), raw=True)
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert open_files(whole.files.folder) == []


def test_files_are_closed_when_the_state_is_damaged(whole: Job) -> None:
    path = whole.files.results(1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreDamaged):
        whole.lines(raw=True)
    assert open_files(whole.files.folder) == []


def open_files(folder: Path) -> list[Path]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(link.readlink())
        except FileNotFoundError:
            continue
    return [path for path in found if path.is_relative_to(folder)]


def test_every_final_state_has_a_name() -> None:
    assert min(STATUS_NAMES) == merge.FIRST_FINAL > max(VOID, PENDING, WAITING)
