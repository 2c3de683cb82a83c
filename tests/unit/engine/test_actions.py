"""What an action makes of an answer, step by step: what is committed, and when the batch is looked at again."""

from __future__ import annotations

import asyncio
from array import array
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bydawn.core.batch import BatchProblem, Lane, Refusal
from bydawn.core.model import ModelRef
from bydawn.core.settings import EngineSettings
from bydawn.core.wire import Checkpoint, WireRequest, WireResponse
from bydawn.engine.actions import Actions
from bydawn.engine.collecting import LOOKS_BEFORE_CUT, LOOKS_BEFORE_GONE
from bydawn.engine.desk import Desk
from bydawn.engine.policy import MAX_REFUSALS
from bydawn.engine.rows import save_rows
from bydawn.engine.sending import LOOKS_BEFORE_ABSENT
from bydawn.engine.watching import REPORT_GONE_AFTER_S
from bydawn.engine.worker import Worker
from bydawn.errors import InDoubt, NotFound, ProviderError, QuotaExhausted, Rejected, TooLarge, Unavailable
from bydawn.ids import IdSource
from bydawn.store.ledger import CANCELLED, FAILED, PENDING, SUCCEEDED, WAITING, Segment
from bydawn.store.records import NewBatch, Plan, lane_key
from bydawn.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bydawn.store.files import JobFiles
    from bydawn.store.records import BatchRecord

LANE = Lane(ModelRef("openai", "gpt-4o-mini"), "chat")
START_S = 1_795_000_000.0
ROWS = 4
DIALS = EngineSettings(poll_min_s=5.0, poll_max_s=300.0, settle_wait_s=60.0)


class FakeClock:
    """Stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = START_S
        self.slept: list[float] = []

    def now(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


Reply = Any
"""An object (the JSON of a 200), bytes (a file's content), or an error to be thrown in."""


class ScriptedDriver:
    """Answers each call with what ``answer`` says for its method and path."""

    def __init__(self, answer: Callable[[str, str], Reply]) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str]] = []

    async def run(self, flow: Any, *, on_checkpoint: Any = None, before_unsafe: Any = None) -> Any:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Checkpoint):
                    on_checkpoint(step.facts)
                    step = flow.send(None)
                    continue
                if step.safety == "unsafe":
                    before_unsafe()
                step = self.perform(flow, step)
        except StopIteration as stop:
            return stop.value

    def perform(self, flow: Any, request: WireRequest) -> Any:
        self.calls.append((request.method, request.path))
        reply = self.answer(request.method, request.path)
        if isinstance(reply, InDoubt):
            raise reply
        if isinstance(reply, Exception):
            return flow.throw(reply)
        if request.save_to is not None:
            request.save_to.write_bytes(reply)
            return flow.send(WireResponse(status=200, headers={}))
        return flow.send(WireResponse(status=200, headers={}, body=msgspec.json.encode(reply)))


class Scene:
    """A stored job of one batch of four rows, and a desk to work on it."""

    def __init__(self, store: Store, files: JobFiles) -> None:
        self.store, self.files, self.clock = store, files, FakeClock()
        self.replies: dict[tuple[str, str], list[Reply]] = {}
        self.driver = ScriptedDriver(self.reply)
        self.events: list[Any] = []
        new = NewBatch(
            number=1, lane=0, tag="tag1", nonce="nonce", rows=ROWS, bytes=40, input_tokens=100,
            attempt=1, attempts_left=1,
        )  # fmt: skip
        store.create_job(job_id="job", fingerprint="f", name="n", realm="live", options="{}", source="s")
        store.put_segments("job", [Segment(0, bytearray([PENDING]) * ROWS, array("I", [1]) * ROWS)])
        store.commit_plan("job", Plan(rows=ROWS, width=1, requests=ROWS, lanes=(LANE,), batches=(new,)))
        save_rows(files.rows(1), array("Q", range(ROWS)))
        lines = [{"custom_id": f"nonce-{row}", "body": {}} for row in range(ROWS)]
        files.requests(1).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self.desk = Desk(
            job_id="job", job_name="n", realm="live", store=store, files=files, lanes=(LANE,),
            driver=lambda _: self.driver, rates=lambda _: None, clock=self.clock, rng=Random(1),
            ids=IdSource(Random(2)),
            settings=DIALS, limits={}, on_event=self.events.append,
        )  # type: ignore[arg-type]  # fmt: skip
        self.actions = Actions(self.desk, lambda: store.job("job").state == "cancelled")

    def reply(self, method: str, path: str) -> Reply:
        """Give the scripted replies in turn, the last one for ever."""
        replies = self.replies[method, path]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    @property
    def batch(self) -> BatchRecord:
        return self.store.batches("job")[0]

    @property
    def states(self) -> list[int]:
        return list(self.store.segment("job", 0).states)

    def act(self, kind: str) -> None:
        asyncio.run(getattr(self.actions, kind)(self.batch))

    def sent(self, **changes: Any) -> BatchRecord:
        batch = self.store.move_batch(self.batch, "send", sent_at_s=self.clock.now())
        return self.store.move_batch(batch, "accepted", provider_batch_id="batch_1", **changes)

    def ended(self, **files: str) -> None:
        self.store.move_batch(self.sent(), "end", end_reason="completed", facts=files)
        self.replies["GET", "/batches/batch_1"] = [
            {"id": "batch_1", "status": "completed", "output_file_id": files.get("output")}
        ]

    def waits_s(self) -> float:
        return self.batch.look_at_s - self.clock.now()


@pytest.fixture
def scene(files: JobFiles) -> Iterator[Scene]:
    store = Store(files.folder.parent.parent / "bydawn.db", lambda: START_S)
    yield Scene(store, files)
    store.close()


# Refusals


@pytest.mark.parametrize("refusals", [0, MAX_REFUSALS - 2])
def test_a_refusal_without_a_reason_is_tried_again_later(scene: Scene, refusals: int) -> None:
    scene.store._db.execute("UPDATE batch SET refusals = ?", (refusals,))
    scene.sent()
    scene.actions.refuse(scene.batch, Refusal("unknown", "no reason"))
    assert (scene.batch.state, scene.batch.waiting, scene.states) == ("refused", ROWS, [WAITING] * ROWS)
    assert 0 < scene.waits_s() <= DIALS.poll_max_s * 1.2


@pytest.mark.parametrize(
    "refusal", [Refusal("lane", "no such model", "model_not_found"), Refusal("unknown", "no reason")]
)
def test_what_cannot_work_fails_with_the_providers_words(scene: Scene, refusal: Refusal) -> None:
    """A model that batches do not have; and no reason for the last time."""
    scene.store._db.execute("UPDATE batch SET refusals = ?", (MAX_REFUSALS - 1,))
    scene.sent()
    scene.actions.refuse(scene.batch, refusal)
    assert (scene.batch.waiting, scene.states) == (0, [FAILED] * ROWS)
    assert scene.batch.note == f"refused: {refusal.message}"
    assert refusal.message.encode() in scene.files.results(1).read_bytes()


def test_only_the_rows_that_were_named_fail(scene: Scene) -> None:
    scene.sent()
    bad = tuple((line, BatchProblem("invalid_request", f"line {line}", line=line)) for line in (2, 4, 99))
    scene.actions.refuse(scene.batch, Refusal("rows", "line 2", bad=bad))
    assert scene.states == [WAITING, FAILED, WAITING, FAILED]
    assert scene.waits_s() == 0
    records = scene.files.results(1).read_bytes()
    assert b'"message":"line 2","retryable":false' in records
    assert b'"message":"line 4","retryable":false' in records


@pytest.mark.parametrize("lines", [(0,), (ROWS + 1, 99)])
def test_lines_that_the_batch_does_not_have_blame_no_row_and_cost_patience(
    scene: Scene, lines: tuple[int, ...]
) -> None:
    """Else a service that counts lines its own way is sent the same batch for ever."""
    scene.sent()
    bad = tuple((line, BatchProblem("invalid_request", "", line=line)) for line in lines)
    scene.actions.refuse(scene.batch, Refusal("rows", "odd", bad=bad))
    assert scene.states == [WAITING] * ROWS
    assert scene.waits_s() > 0


def test_no_money_keeps_the_rows_and_stops_the_job(scene: Scene) -> None:
    scene.sent()
    with pytest.raises(QuotaExhausted, match="pay first"):
        scene.actions.refuse(scene.batch, Refusal("money", "pay first", "insufficient_quota"))
    assert (scene.batch.state, scene.states) == ("refused", [WAITING] * ROWS)


@pytest.mark.parametrize(
    ("limit", "rows", "at_once"),
    [(99, ROWS, True), (100, ROWS, False), (None, ROWS, False), (99, 1, False)],
)
def test_quota_is_waited_for_unless_smaller_batches_will_do(
    scene: Scene, limit: int | None, rows: int, at_once: bool
) -> None:
    """The batch has 100 tokens. One row alone cannot get smaller: it waits, or it would be created again for ever."""
    scene.store._db.execute("UPDATE batch SET rows = ?", (rows,))
    save_rows(scene.files.rows(1), array("Q", range(rows)))
    scene.sent()
    scene.actions.refuse(scene.batch, Refusal("quota", "too much", limit=limit))
    assert scene.states[:rows] == [WAITING] * rows
    assert (scene.waits_s() == 0) == at_once
    assert scene.store.quotas("live") == ({} if limit is None else {lane_key(LANE): limit})


def test_a_quota_that_is_not_named_is_found_by_halving(scene: Scene) -> None:
    scene.sent()
    scene.actions.refuse(scene.batch, Refusal("quota", "too much"))
    assert scene.batch.facts["max_tokens"] == "50"


@pytest.mark.parametrize(
    ("error", "halved"), [(TooLarge("big", status=413), True), (Rejected("no", status=400), False)]
)
def test_a_create_that_is_refused_is_taken_over_by_smaller_batches_where_it_was_too_large(
    scene: Scene, error: ProviderError, halved: bool
) -> None:
    scene.replies["POST", "/files"] = [error]
    scene.act("send")
    assert (scene.batch.state, scene.batch.waiting) == ("refused", ROWS)
    assert scene.batch.facts.get("max_rows") == ("2" if halved else None)
    scene.act("replan")
    again = scene.store.batches("job")[1:]
    assert [(new.rows, new.attempt, new.attempts_left, new.refusals) for new in again] == [
        (2 if halved else ROWS, 1, 1, 1)
    ] * (2 if halved else 1)


# Creating and settling


def test_the_intent_is_stored_before_the_create_is_sent(scene: Scene) -> None:
    seen = []

    def answer(method: str, path: str) -> Reply:
        if path == "/batches":
            seen.append((scene.batch.state, scene.batch.facts["input_file_id"]))
        return {"id": "file-1" if path == "/files" else "batch_1"}

    scene.driver.answer = answer
    scene.act("send")
    assert seen == [("submitting", "file-1")]
    assert (scene.batch.state, scene.batch.provider_batch_id) == ("in_progress", "batch_1")


def test_a_create_in_doubt_is_never_sent_again_before_it_was_looked_for_long_enough(scene: Scene) -> None:
    scene.replies = {
        ("POST", "/files"): [{"id": "file-1"}],
        ("POST", "/batches"): [InDoubt("lost")],
        ("GET", "/batches"): [{"data": [], "has_more": False}],
    }
    scene.act("send")
    doubted_at_s = scene.clock.now()
    looks = 0
    while scene.batch.state == "in_doubt":
        scene.clock.now_s = max(scene.clock.now_s, scene.batch.look_at_s)
        scene.act("settle")
        looks += 1
        assert looks < 100
    assert scene.batch.state == "planned"
    assert looks >= LOOKS_BEFORE_ABSENT
    assert scene.clock.now() - doubted_at_s >= DIALS.settle_wait_s
    assert scene.driver.calls.count(("POST", "/batches")) == 1


def test_looking_once_after_a_long_absence_is_not_looking_long_enough(scene: Scene) -> None:
    """The machine was off for a day with a create on its way: one or two empty lists prove nothing."""
    scene.store.move_batch(scene.batch, "send", sent_at_s=START_S)
    scene.replies["GET", "/batches"] = [{"data": [], "has_more": False}]
    for _ in range(LOOKS_BEFORE_ABSENT - 1):
        scene.clock.now_s += 86_400
        scene.act("settle")
        assert scene.batch.state == "in_doubt"
        assert scene.waits_s() > 0


def test_a_create_that_is_found_is_adopted(scene: Scene) -> None:
    scene.store.move_batch(scene.batch, "send", sent_at_s=START_S)
    found = {"id": "batch_9", "status": "in_progress", "metadata": {"bydawn": "tag1"}, "created_at": START_S}
    scene.replies["GET", "/batches"] = [{"data": [found], "has_more": False}]
    scene.act("settle")
    assert (scene.batch.state, scene.batch.provider_batch_id) == ("in_progress", "batch_9")


# Watching


def test_a_batch_that_is_not_known_is_not_given_up_before_its_window_has_passed(scene: Scene) -> None:
    scene.sent()
    scene.replies["GET", "/batches/batch_1"] = [NotFound("no batch", status=404)]
    scene.clock.now_s += REPORT_GONE_AFTER_S - 1
    scene.act("poll")
    assert (scene.batch.state, scene.batch.looks) == ("in_progress", 1)
    scene.clock.now_s += 2
    scene.act("poll")
    assert (scene.batch.state, scene.batch.end_reason) == ("ended", "failed")


def test_looks_are_spaced_out_until_something_changes(scene: Scene) -> None:
    scene.sent()
    same = {"id": "batch_1", "status": "in_progress", "request_counts": {"total": 4, "completed": 0, "failed": 0}}
    scene.replies["GET", "/batches/batch_1"] = [same] * 4 + [same | {"status": "finalizing"}]
    waits = []
    for _ in range(5):
        scene.act("poll")
        waits.append((scene.batch.looks, scene.waits_s()))
    assert [looks for looks, _ in waits] == [0, 1, 2, 3, 0]
    assert waits[3][1] > 2 * waits[0][1]
    assert scene.batch.provider_status == "finalizing"


@pytest.mark.parametrize(("late_s", "told"), [(0, False), (86_400, True)])
def test_a_batch_past_its_window_is_told_of_but_not_given_up(scene: Scene, late_s: float, told: bool) -> None:
    """It may still run, and be billed."""
    scene.sent()
    window = {"created_at": 0, "expires_at": 0}  # by a clock that is not ours
    scene.replies["GET", "/batches/batch_1"] = [{"id": "batch_1", "status": "in_progress", **window}]
    scene.clock.now_s += late_s
    scene.act("poll")
    assert scene.batch.state == "in_progress"
    assert (scene.batch.note is not None) == told


@pytest.mark.parametrize("error", [NotFound("gone", status=404), Rejected("no", status=400)])
def test_a_cancel_that_is_refused_leaves_the_rest_to_polling(scene: Scene, error: ProviderError) -> None:
    scene.sent()
    scene.replies["POST", "/batches/batch_1/cancel"] = [error]
    scene.act("cancel")
    assert scene.batch.state == "cancelling"


def test_a_cancel_that_fails_is_not_repeated_at_once(scene: Scene) -> None:
    """A service in trouble is given time; a refused call is not repeated at all."""
    scene.sent()
    scene.store.move_job(scene.store.job("job"), "cancel")
    over = {"id": "batch_1", "status": "cancelled", "output_file_id": None, "error_file_id": ""}
    scene.replies = {
        ("POST", "/batches/batch_1/cancel"): [Unavailable("503", status=503)] * 3 + [{}],
        ("GET", "/batches/batch_1"): [over],
    }
    status = asyncio.run(Worker(scene.desk).run("done"))
    assert (status.cancelled, status.pending) == (ROWS, 0)
    tries = scene.driver.calls.count(("POST", "/batches/batch_1/cancel"))
    assert tries == 4
    assert scene.clock.now() - START_S >= 3 * 0.8 * DIALS.retry_first_s


# Collecting


def output(*rows: int) -> bytes:
    answer = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    return b"".join(
        msgspec.json.encode({"custom_id": f"nonce-{row}", "response": {"status_code": 200, "body": answer}}) + b"\n"
        for row in rows
    )


CONTENT = ("GET", "/files/file-o/content")


def collect_to_the_end(scene: Scene) -> int:
    """Collect until it is done, as the worker does it; return how often the file was asked for."""
    for _ in range(50):
        if scene.batch.state != "ended":
            break
        scene.clock.now_s = max(scene.clock.now_s, scene.batch.look_at_s)
        try:
            scene.act("collect")
        except NotFound as error:
            looks = scene.batch.looks + 1
            scene.store.update_batch(scene.batch, looks=looks, look_at_s=scene.clock.now() + looks, note=str(error))
    return scene.driver.calls.count(CONTENT)


@pytest.mark.parametrize("misses", [1, 3, LOOKS_BEFORE_GONE - 1])
def test_a_result_file_that_is_not_readable_yet_is_waited_for(scene: Scene, misses: int) -> None:
    scene.ended(output="file-o")
    scene.replies[CONTENT] = [NotFound("no such file", status=404)] * misses + [output(0, 1, 2, 3)]
    assert collect_to_the_end(scene) == misses + 1
    assert scene.states == [SUCCEEDED] * ROWS


def test_answers_whose_file_is_gone_for_good_are_not_paid_for_again(scene: Scene) -> None:
    """Promise 2: they were billed. The user may still ask for a retry."""
    scene.ended(output="file-o")
    scene.replies[CONTENT] = [NotFound("no such file", status=404)]
    collect_to_the_end(scene)
    assert (scene.batch.state, scene.batch.waiting) == ("collected", 0)
    assert scene.states == [FAILED] * ROWS


def test_missing_rows_are_looked_for_once_more_and_then_sent_again(scene: Scene) -> None:
    scene.ended(output="file-o")
    scene.replies |= {CONTENT: [output(0, 1)], ("GET", "/files/file-o"): [{"id": "file-o", "bytes": len(output(0, 1))}]}
    assert collect_to_the_end(scene) == 2
    assert scene.states == [SUCCEEDED, SUCCEEDED, WAITING, WAITING]


def test_a_second_look_that_finds_the_file_gone_keeps_the_first(scene: Scene) -> None:
    scene.ended(output="file-o")
    scene.replies |= {
        CONTENT: [output(0, 1), NotFound("expired", status=404)],
        ("GET", "/files/file-o"): [NotFound("expired", status=404)],
    }
    collect_to_the_end(scene)
    assert scene.states[:2] == [SUCCEEDED, SUCCEEDED]
    assert scene.batch.tally is not None
    assert scene.batch.tally.succeeded == 2


@pytest.mark.parametrize(
    ("received", "states"),
    [
        (output(0, 1, 2, 3)[:-30], [SUCCEEDED] * 3 + [WAITING]),
        (output(0, 1, 2)[:-30], [SUCCEEDED] * 2 + [FAILED] * 2),
        (b"", [FAILED] * 4),
    ],
)
def test_a_file_that_keeps_coming_cut_costs_at_most_its_last_line_twice(
    scene: Scene, received: bytes, states: list[int]
) -> None:
    """Rows that are lost with the rest of the file were answered, and billed: they are not sent again by themselves."""
    scene.ended(output="file-o")
    scene.replies |= {CONTENT: [received], ("GET", "/files/file-o"): [{"id": "file-o"}]}
    assert collect_to_the_end(scene) > 2
    assert scene.states == states


def test_a_file_shorter_than_the_provider_says_is_a_broken_download(scene: Scene) -> None:
    """It is no evidence about rows: it is fetched again later, for hours, and only then taken for what it is."""
    scene.ended(output="file-o")
    described = {("GET", "/files/file-o"): [{"id": "file-o", "bytes": 10_000}]}
    scene.replies |= {CONTENT: [output(0, 1)], **described}
    for looks in (0, LOOKS_BEFORE_CUT - 1):
        scene.store.update_batch(scene.batch, looks=looks)
        with pytest.raises(Unavailable, match="of its 10,000 bytes"):
            scene.act("collect")
        assert scene.states == [PENDING] * ROWS
    scene.store.update_batch(scene.batch, looks=LOOKS_BEFORE_CUT)
    collect_to_the_end(scene)
    assert scene.states == [SUCCEEDED] * 2 + [FAILED] * 2


# Cancelling what is here


def test_what_was_not_sent_is_withdrawn(scene: Scene) -> None:
    scene.act("withdraw")
    assert (scene.batch.state, scene.states) == ("withdrawn", [CANCELLED] * ROWS)


def test_rows_that_wait_are_given_up_and_others_are_not(scene: Scene) -> None:
    scene.sent()
    bad = ((1, BatchProblem("invalid_request", "bad", line=1)),)
    scene.actions.refuse(scene.batch, Refusal("rows", "bad", bad=bad))
    scene.act("give_up")
    assert (scene.batch.state, scene.batch.waiting) == ("refused", 0)
    assert scene.states == [FAILED] + [CANCELLED] * 3
