"""Planning: the whole input or nothing, every row in the lane it belongs to, and the short way as good as the long."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bydawn.adapt import load_facts
from bydawn.core.events import Planning
from bydawn.core.job import JobOptions
from bydawn.core.problems import Problems
from bydawn.core.settings import EngineSettings
from bydawn.engine import entering, planner
from bydawn.engine.planner import Planner
from bydawn.engine.route import Router
from bydawn.engine.rows import load_rows
from bydawn.engine.writing import PER_ROW, DiskShelf
from bydawn.errors import ConfigError, InvalidInput
from bydawn.ids import IdSource
from bydawn.io import RowShape, open_source
from bydawn.store import ledger
from bydawn.store.files import JobFiles
from bydawn.store.ledger import PENDING, VOID, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bydawn.core.request import Request
    from bydawn.io import Source
    from bydawn.store.records import Plan

    PlanRows = Callable[..., "Planned"]

FACTS = load_facts()
MINI = "openai/gpt-4o-mini"
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def chat(text: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


class LongWay:
    """A source whose rows have no mould: each is planned for itself."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def requests(self, problems: Problems) -> Iterator[Request]:
        for request in self._source.requests(problems):
            yield msgspec.structs.replace(request, mould=None)


class Planned:
    """What planning one input wrote and said."""

    def __init__(self, folder: Path, rows: list[Any], *models: str, long_way: bool = False, **more: Any) -> None:
        self.files = JobFiles(folder, "job")
        self.files.create()
        self.segments: list[Segment] = []
        self.ids: dict[int, str] = {}
        self.events: list[Any] = []
        path = folder / "rows.jsonl"
        path.write_bytes(
            b"".join((row if isinstance(row, bytes) else msgspec.json.encode(row)) + b"\n" for row in rows)
        )
        source: Any = open_source(path, shape=RowShape())
        dials = EngineSettings(max_batch_rows=more.pop("max_batch_rows", None))
        limits, quotas = more.pop("limits", {}), more.pop("quotas", {})
        self.router = Router(
            options=JobOptions(models=models, **more),
            facts=FACTS,
            settings=dials,
            limits=limits,
            quotas=quotas,
            ids=IdSource(Random(1)),
            shelf=DiskShelf(self.files),
        )
        self.planner = Planner(
            self.router,
            put_segment=self.segments.append,
            put_id=self.ids.__setitem__,
            on_event=self.events.append,
        )
        self.problems = Problems("rows.jsonl")
        try:
            self.plan: Plan = self.planner.plan(LongWay(source) if long_way else source, self.problems)
        except BaseException:
            self.planner.abandon()
            raise

    @property
    def ledger(self) -> list[tuple[int, int]]:
        return [entry for segment in self.segments for entry in zip(segment.states, segment.owners, strict=True)]

    @property
    def lanes(self) -> list[str]:
        return [str(lane) for lane in self.plan.lanes]

    def sent(self, number: int) -> dict[int, dict[str, Any]]:
        """The lines of a batch by ordinal."""
        batch = self.plan.batches[number - 1]
        assert batch.number == number
        lines = self.files.requests(number).read_bytes().split(b"\n")[:-1]
        return {
            ordinal: msgspec.json.decode(line)
            for ordinal, line in zip(load_rows(self.files.rows(number), batch.rows), lines, strict=True)
        }

    def all_sent(self) -> dict[int, dict[str, Any]]:
        return {ordinal: line for batch in self.plan.batches for ordinal, line in self.sent(batch.number).items()}


@pytest.fixture
def plan_rows(tmp_path: Path) -> PlanRows:
    def plan(rows: list[Any], *models: str, **more: Any) -> Planned:
        return Planned(tmp_path, rows, *(models or (MINI,)), **more)

    return plan


# What is refused


def refused(plan_rows: PlanRows, rows: list[Any], *models: str, **more: Any) -> list[tuple[int | None, str]]:
    with pytest.raises(InvalidInput) as caught:
        plan_rows(rows, *models, **more)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_all_problems_are_named_with_their_lines(plan_rows: PlanRows) -> None:
    problems = refused(
        plan_rows,
        [chat(), b"no json", chat(model="mars/rover-1"), chat(id=5), {"nothing": 1}, chat(id="a"), chat(id="a")],
        MINI,
    )
    assert {line for line, _ in problems} >= {2, 5, 7}
    assert any("id 'a' is on line 6 too" in message for _, message in problems)


def test_a_row_without_any_model_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        Planned(tmp_path, [chat(model=MINI), chat(), chat(model="gpt-4o")])
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    assert "no model is named" in str(caught.value.problems[0])


def test_a_row_that_the_endpoint_cannot_take_is_a_problem(plan_rows: PlanRows) -> None:
    two = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}
    problems = refused(plan_rows, [chat(), two, chat()], "openai/text-embedding-3-small", endpoint="embeddings")
    assert [line for line, _ in problems] == [2]


def test_a_row_over_the_size_limit_is_a_problem_and_no_other_is(plan_rows: PlanRows) -> None:
    limits = {"openai": {"row_bytes": 400}}
    rows = [chat("x" * 400, id="a"), chat("x" * 100, id="b"), chat("é" * 200, id="c")]
    for order in (rows, rows[::-1]):
        problems = refused(plan_rows, order, limits=limits)
        assert len(problems) == 1
        line, message = problems[0]
        assert line == 1
        assert "takes at most 400" in message


@pytest.mark.parametrize("models", [["gpt-4o"], ["mars/x"], [""]])
def test_a_model_without_a_known_provider_is_a_configuration_error(plan_rows: PlanRows, models: list[str]) -> None:
    with pytest.raises(ConfigError):
        plan_rows([chat()], *models)


@pytest.mark.parametrize("key", ["openai", MINI])
@pytest.mark.parametrize(
    "table", [{"row": 5}, {"rows": 0}, {"rows": -1}, {"rows": "many"}, {"bytes": 0.5}, {"rows": True}]
)
def test_limits_of_the_user_must_make_sense(plan_rows: PlanRows, key: str, table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=key):
        plan_rows([chat()], limits={key: table})


def test_planning_that_fails_leaves_no_open_file(plan_rows: PlanRows, tmp_path: Path) -> None:
    """Checked by the interpreter: an unclosed file is a warning, and warnings are errors here."""
    refused(plan_rows, [chat(), b"no json"])
    assert list((tmp_path / "jobs").rglob("*.rows")) == []


# Where rows go


def test_rows_of_one_model_are_one_lane(plan_rows: PlanRows) -> None:
    planned = plan_rows([chat(str(row)) for row in range(5)])
    (batch,) = planned.plan.batches
    assert (planned.plan.rows, planned.plan.requests, planned.plan.width) == (5, 5, 1)
    assert planned.lanes == ["openai/gpt-4o-mini (chat)"]
    assert planned.ledger == [(PENDING, 1)] * 5
    assert (batch.rows, batch.lane, batch.attempt, batch.attempts_left, batch.refusals) == (5, 0, 1, 2, 0)
    assert planned.sent(1)[3] == {
        "custom_id": f"{batch.nonce}-3",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o-mini", **chat("3")},
    }


def test_several_models_share_each_row(plan_rows: PlanRows) -> None:
    planned = plan_rows([chat("a"), chat("b")], MINI, "openai/gpt-4.1", "openai/gpt-4o")
    assert (planned.plan.rows, planned.plan.requests, planned.plan.width) == (2, 6, 3)
    assert planned.lanes == ["openai/gpt-4o-mini (chat)", "openai/gpt-4.1 (chat)", "openai/gpt-4o (chat)"]
    assert {ordinal: line["body"]["model"] for ordinal, line in planned.all_sent().items()} == {
        0: "gpt-4o-mini", 1: "gpt-4.1", 2: "gpt-4o", 3: "gpt-4o-mini", 4: "gpt-4.1", 5: "gpt-4o",
    }  # fmt: skip
    assert [state for state, _ in planned.ledger] == [PENDING] * 6


def test_a_model_named_twice_is_refused(plan_rows: PlanRows) -> None:
    """Else every row would be paid for twice."""
    with pytest.raises(ConfigError, match="named twice"):
        plan_rows([chat("a")], MINI, "openai/gpt-4.1", MINI)


def test_a_rows_own_model_takes_the_place_of_all(plan_rows: PlanRows) -> None:
    """And leaves the other ordinals of its row empty."""
    planned = plan_rows([chat("a"), chat("b", model="openai/gpt-4.1-mini"), chat("c")], MINI, "openai/gpt-4.1")
    assert planned.plan.requests == 5
    assert planned.ledger == [(PENDING, 1), (PENDING, 2), (PENDING, 3), (VOID, 0), (PENDING, 1), (PENDING, 2)]
    assert {ordinal: line["body"]["model"] for ordinal, line in planned.all_sent().items()} == {
        0: "gpt-4o-mini", 1: "gpt-4.1", 2: "gpt-4.1-mini", 4: "gpt-4o-mini", 5: "gpt-4.1",
    }  # fmt: skip


def test_an_input_may_name_all_its_models_itself(tmp_path: Path) -> None:
    native = {"custom_id": "n", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4.1", **chat()}}
    planned = Planned(tmp_path, [chat(model=MINI), native])
    assert planned.lanes == ["openai/gpt-4o-mini (chat)", "openai/gpt-4.1 (chat)"]
    assert planned.ids == {1: "n"}


def test_forms_go_to_their_endpoints(plan_rows: PlanRows) -> None:
    rows = [chat(), {"input": "x", "model": "openai/text-embedding-3-small"}, chat(model="openai/gpt-5-pro")]
    assert plan_rows(rows).lanes[:2] == ["openai/gpt-4o-mini (chat)", "openai/text-embedding-3-small (embeddings)"]


@pytest.mark.parametrize("efforts", [("none", "high"), ("high", "none"), ("none", None), (None, "none")])
def test_the_endpoint_is_chosen_for_each_row_not_for_the_first(
    plan_rows: PlanRows, efforts: tuple[str | None, ...]
) -> None:
    """This model takes tools on chat only without an effort; asked for one, it must answer on responses, with it."""
    rows = [chat(tools=TOOLS, **({} if effort is None else {"reasoning_effort": effort})) for effort in efforts]
    sent = plan_rows(rows, "openai/gpt-5.6-sol").all_sent()
    urls = {"none": "/v1/chat/completions", "high": "/v1/responses", None: "/v1/responses"}
    assert [sent[row]["url"] for row in range(2)] == [urls[effort] for effort in efforts]
    if "high" in efforts:
        assert sent[efforts.index("high")]["body"]["reasoning"] == {"effort": "high"}


def test_batches_are_cut_by_limits_of_user_and_quota(plan_rows: PlanRows) -> None:
    rows = [chat(str(row % 10)) for row in range(10)]
    size = len(plan_rows([chat("1")]).files.requests(1).read_bytes())
    assert [batch.rows for batch in plan_rows(rows, max_batch_rows=4).plan.batches] == [4, 4, 2]
    by_bytes = plan_rows(rows, limits={"openai": {"bytes": 3 * size}}).plan.batches
    assert [batch.rows for batch in by_bytes] == [3, 3, 3, 1]
    by_model = plan_rows(rows, limits={"openai": {"rows": 9}, MINI: {"rows": 5}, "openai/gpt-4.1": {"rows": 1}})
    assert [batch.rows for batch in by_model.plan.batches] == [5, 5]
    quotas = {"openai/gpt-4o-mini chat default": 2 * -(-size // 3)}
    assert [batch.rows for batch in plan_rows(rows, quotas=quotas).plan.batches] == [2] * 5


def test_embeddings_are_cut_by_their_inputs(plan_rows: PlanRows) -> None:
    rows = [{"input": ["x"] * count} for count in (3, 2, 1, 4, 5, 6)]
    planned = plan_rows(rows, "openai/text-embedding-3-small", limits={"openai": {"inputs": 5}})
    assert [batch.rows for batch in planned.plan.batches] == [2, 2, 1, 1]


def test_batches_are_numbered_as_they_were_begun_over_all_lanes(plan_rows: PlanRows) -> None:
    planned = plan_rows([chat(str(row)) for row in range(4)], MINI, "openai/gpt-4.1", max_batch_rows=2)
    assert [(batch.number, batch.lane, batch.rows) for batch in planned.plan.batches] == [
        (1, 0, 2), (2, 1, 2), (3, 0, 2), (4, 1, 2),
    ]  # fmt: skip
    assert planned.ledger == [(PENDING, owner) for owner in (1, 2, 1, 2, 3, 4, 3, 4)]
    assert len({batch.tag for batch in planned.plan.batches}) == 4


def test_attempts_are_those_of_the_job(plan_rows: PlanRows) -> None:
    assert plan_rows([chat()], max_attempts=1).plan.batches[0].attempts_left == 0
    assert plan_rows([chat()], max_attempts=7).plan.batches[0].attempts_left == 6


def test_ids_are_handed_on_by_row(plan_rows: PlanRows) -> None:
    assert plan_rows([chat(id="a"), chat(), chat(id="é\n"), chat(id=7)]).ids == {0: "a", 2: "é\n", 3: "7"}


def test_what_was_read_is_told_now_and_then(plan_rows: PlanRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "REPORT_EVERY_ROWS", 2)
    assert plan_rows([chat(str(row)) for row in range(5)]).events == [Planning(2), Planning(4), Planning(5)]


# What was changed


def test_adjustments_are_counted_by_row_and_model(plan_rows: PlanRows) -> None:
    rows = [chat(str(row), **({"temperature": 0.2} if row % 2 else {})) for row in range(6)]
    planned = plan_rows(rows, "openai/gpt-5-mini", "openai/gpt-5", MINI)
    dropped = [
        (rows_changed, adjustment.rule) for adjustment, rows_changed in planned.plan.adjustments
        if adjustment.parameter == "temperature"
    ]  # fmt: skip
    assert [rows_changed for rows_changed, _ in dropped] == [3, 3]
    sent = planned.all_sent()
    assert ["temperature" in sent[ordinal]["body"] for ordinal in range(3, 6)] == [False, False, True]
    assert plan_rows([chat()]).plan.adjustments == ()


def test_rerouted_rows_are_counted(plan_rows: PlanRows) -> None:
    planned = plan_rows([chat(str(row), tools=TOOLS) for row in range(3)] + [chat()], "openai/gpt-5.6-sol")
    assert [(what.action, rows) for what, rows in planned.plan.adjustments if what.action == "rerouted"] == [
        ("rerouted", 3)
    ]


@pytest.mark.parametrize(
    ("formats", "shared"),
    [
        ([None, None], None),
        ([{"type": "json_object"}] * 2, '{"type":"json_object"}'),
        ([{"type": "json_object"}, None], PER_ROW),
        ([{"type": "json_object"}, {"type": "text"}], PER_ROW),
    ],
)
def test_a_batch_knows_what_its_answers_are_to_be(plan_rows: PlanRows, formats: list[Any], shared: str | None) -> None:
    rows = [chat(str(row), **({"response_format": form} if form else {})) for row, form in enumerate(formats)]
    assert plan_rows(rows).plan.batches[0].answer_format == shared


def test_loads_say_what_each_lane_carries(plan_rows: PlanRows) -> None:
    rows = [chat("a", max_tokens=10), chat("b", max_tokens=30), chat("c", model="openai/gpt-4.1")]
    planned = plan_rows(rows, max_batch_rows=1)
    mini, other = planned.planner.loads()
    assert (mini.requests, mini.batches, mini.max_output_tokens) == (2, 2, 40)
    assert (other.requests, other.batches, other.max_output_tokens) == (1, 1, None)
    assert mini.bytes == sum(planned.files.requests(number).stat().st_size for number in (1, 2))


# The short way


def say(text: str, *, system: bool = False) -> list[dict[str, str]]:
    before = [{"role": "system", "content": "Be brief."}] if system else []
    return [*before, {"role": "user", "content": text}]


MARK = {"k": "\x01content goes here\x01", "custom-id-goes-here": "v"}
KINDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "plain": lambda text: {"messages": say(text)},
    "first": lambda text: {"messages": say(text), "max_tokens": 64, "seed": 1},
    "last": lambda text: {"max_tokens": 64, "seed": 1, "messages": say(text)},
    "other value": lambda text: {"messages": say(text), "max_tokens": 65, "seed": 1},
    "mark before": lambda text: {"metadata": MARK, "messages": say(text)},
    "mark after": lambda text: {"messages": say(text), "metadata": MARK},
    "system": lambda text: {"messages": say(text, system=True)},
    "system later": lambda text: {"messages": say(text, system=len(text) > 1)},
    "temperature": lambda text: {"temperature": 0.5, "messages": say(text)},
    "tools": lambda text: {"messages": say(text), "tools": TOOLS},
    "tools, no effort": lambda text: {"messages": say(text), "tools": TOOLS, "reasoning_effort": "none"},
    "json": lambda text: {"messages": say(text), "response_format": {"type": "json_object"}},
    "own model": lambda text: {"messages": say(text), "model": "openai/gpt-5-mini", "max_tokens": 9},
    "prompt": lambda text: {"prompt": text},
    "input": lambda text: {"input": text, "model": "openai/text-embedding-3-small"},
    "inputs": lambda text: {"input": [text] * (1 + len(text)), "model": "openai/text-embedding-3-small"},
    "native": lambda text: {
        "custom_id": f"id {text}", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "gpt-4.1", "messages": say(text), "max_tokens": 64},
    },
    "responses": lambda text: {
        "custom_id": f"id of {text}", "method": "POST", "url": "/v1/responses",
        "body": {"model": "gpt-5-mini", "input": text, "temperature": 1},
    },
}  # fmt: skip
"""Kinds of rows, each made with a text of its own: what differs in the text only takes the short way."""

TEXTS = ("a", "bb", "\u2028é\n", '"\\', "custom-id-goes-here", "\x01content goes here\x01", "last")
TARGETS = [[MINI], ["openai/gpt-5-mini"], ["openai/gpt-5.6-sol", MINI], ["openai/o1-mini"], ["openai/unheard-of"]]


def with_returns(line: bytes) -> bytes:
    """A carriage return is white space to JSON and must not get into a line that is sent."""
    return line.replace(b'"role":', b'"role":\r ').replace(b'"input":', b'"input":\r ')


@pytest.mark.parametrize("models", TARGETS, ids=" ".join)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_planned_the_short_way_are_byte_for_byte_those_of_the_long_way(
    tmp_path: Path, kind: str, models: list[str]
) -> None:
    rows = [msgspec.json.encode(KINDS[kind](text)) for text in TEXTS]
    pretty = with_returns(msgspec.json.encode(KINDS[kind]("pretty")))
    assert_same_both_ways(tmp_path, [*rows, pretty], models)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    order=st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(TEXTS)), min_size=2, max_size=30),
    models=st.sampled_from(TARGETS),
    most=st.integers(1, 9),
)
def test_so_are_rows_of_many_kinds_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[tuple[str, str]], models: list[str], most: int
) -> None:
    rows = []
    for number, (kind, text) in enumerate(order):
        row = KINDS[kind](text)
        rows.append(msgspec.json.encode(row | {"custom_id": f"{number}"} if "custom_id" in row else row))
    assert_same_both_ways(tmp_path_factory.mktemp("job"), rows, models, most)


def assert_same_both_ways(folder: Path, rows: list[bytes], models: list[str], most: int = 50) -> None:
    short, long = (outcome(folder / name, rows, models, most, long_way=name == "long") for name in ("short", "long"))
    assert short == long


def outcome(folder: Path, rows: list[bytes], models: list[str], most: int, *, long_way: bool) -> Any:
    """All that planning wrote and said, or what it refused."""
    folder.mkdir()
    try:
        planned = Planned(
            folder, rows, *models, max_batch_rows=most, limits={"openai": {"inputs": 5}}, long_way=long_way
        )
    except InvalidInput as error:
        return [(problem.line, problem.message) for problem in error.problems]
    files = {path.name: path.read_bytes() for path in (folder / "jobs").rglob("*") if path.is_file()}
    plan = planned.plan
    counted = sorted((rows_changed, adjustment.rule) for adjustment, rows_changed in plan.adjustments)
    loads = sorted(map(str, planned.planner.loads()))
    return files, planned.ledger, planned.ids, plan.batches, plan.lanes, plan.requests, counted, loads


def test_segments_are_crossed_with_several_models_and_holes(
    plan_rows: PlanRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (ledger, entering):
        monkeypatch.setattr(module, "SEGMENT_ROWS", 4)
    rows = [chat(str(row), **({"model": MINI} if row % 3 == 1 else {})) for row in range(7)]
    planned = plan_rows(rows, MINI, "openai/gpt-4.1")
    assert [(segment.number, len(segment)) for segment in planned.segments] == [(0, 4), (1, 4), (2, 4), (3, 2)]
    assert [state for state, _ in planned.ledger] == [
        PENDING if ordinal % 2 == 0 or (ordinal // 2) % 3 != 1 else VOID for ordinal in range(14)
    ]
    owned = [ordinal for batch in planned.plan.batches for ordinal in planned.sent(batch.number)]
    assert sorted(owned) == [ordinal for ordinal, (state, _) in enumerate(planned.ledger) if state == PENDING]
