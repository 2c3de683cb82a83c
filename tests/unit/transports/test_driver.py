"""Goal: what may be repeated is repeated with patience, what may not is sent once, and doubt is never swallowed.

Method: flows of one or two calls over a scripted transport and a clock that only takes notes.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from bydawn.core.batch import ResultFile
from bydawn.core.wire import Checkpoint, FilePart, WireRequest, WireResponse
from bydawn.errors import (
    AnswerLost,
    AuthenticationFailed,
    InDoubt,
    NotFound,
    NotSent,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Unavailable,
    UnexpectedAnswer,
)
from bydawn.providers.openai import OpenAI
from bydawn.transports.driver import Driver
from bydawn.transports.retry import RetryPolicy

SAFE = WireRequest(method="GET", path="/batches", safety="safe")
IDEMPOTENT = WireRequest(method="POST", path="/batches/b/cancel", safety="idempotent")
UNSAFE = WireRequest(method="POST", path="/batches", safety="unsafe", json={})
UPLOAD = WireRequest(
    method="POST", path="/files", safety="idempotent", file=FilePart("file", "x.jsonl", Path("x.jsonl"))
)
POLICY = RetryPolicy(attempts=4, first_s=1.0, max_s=10.0)


def answer(status=200, body=b"{}", **headers):
    return WireResponse(status=status, headers={n.replace("_", "-"): v for n, v in headers.items()}, body=body)


def quota():
    return answer(429, msgspec.json.encode({"error": {"message": "m", "code": "insufficient_quota"}}))


class Script:
    """A transport that plays back answers and errors, and notes what was sent."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []

    async def send(self, request):
        self.sent.append(request)
        outcome = self.script.pop(0)
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def one_call(request):
    response = yield request
    return response.status, response.body


def run(net, flow, *script, policy=POLICY, **callbacks):
    """Drive a flow: its outcome (a value or an error), the transport, and the waits."""
    transport, clock = Script(*script), net.FakeClock()
    driver = Driver(transport, OpenAI(), clock, random.Random(7), policy)
    try:
        outcome = asyncio.run(driver.run(flow, **callbacks))
    except Exception as error:  # noqa: BLE001 - the test looks at whatever came
        outcome = error
    return outcome, transport, clock.slept


PASSING = [
    NotSent("no route"),
    AnswerLost("cut"),
    answer(429),
    answer(408),
    answer(500),
    answer(503, b"<html>"),
    answer(200, b"<html>"),
]
LASTING = [
    (answer(400), Rejected),
    (answer(401), AuthenticationFailed),
    (answer(403), PermissionDenied),
    (answer(404), NotFound),
    (answer(409), Rejected),
    (answer(302, location="https://elsewhere.example/"), Rejected),
    (quota(), QuotaExhausted),
    (answer(500, x_should_retry="false"), Unavailable),
]


@pytest.mark.parametrize("request_", [SAFE, IDEMPOTENT], ids=["safe", "idempotent"])
@pytest.mark.parametrize("failure", PASSING)
def test_failures_that_pass_are_waited_out(net, request_, failure):
    outcome, transport, slept = run(net, one_call(request_), failure, failure, failure, answer(200, b"ok"))
    assert outcome == (200, b"ok")
    assert len(transport.sent) == 4
    assert len(slept) == 3
    assert all(0 <= wait <= bound for wait, bound in zip(slept, [1.0, 2.0, 4.0], strict=True))


@pytest.mark.parametrize(
    ("failure", "error"), [(PASSING[0], NotSent), (PASSING[1], AnswerLost), (PASSING[4], Unavailable)]
)
def test_patience_ends(net, failure, error):
    outcome, transport, slept = run(net, one_call(SAFE), *[failure] * 4)
    assert isinstance(outcome, error)
    assert (len(transport.sent), len(slept)) == (4, 3)


@pytest.mark.parametrize(("failure", "error"), LASTING)
def test_failures_that_last_are_told_at_once(net, failure, error):
    outcome, transport, slept = run(net, one_call(SAFE), failure)
    assert type(outcome) is error
    assert (len(transport.sent), slept) == (1, [])


def test_a_flow_may_know_what_to_do_about_an_error(net):
    def flow():
        try:
            yield SAFE
        except NotFound:
            response = yield IDEMPOTENT
            return response.body

    outcome, transport, _ = run(net, flow(), answer(404), answer(200, b"instead"))
    assert (outcome, transport.sent) == (b"instead", [SAFE, IDEMPOTENT])


def test_the_provider_is_given_the_time_it_asks_for(net):
    _, _, slept = run(net, one_call(SAFE), answer(429, retry_after="9"), answer(503, retry_after_ms="9500"), answer())
    assert slept[0] >= 9.0
    assert slept[1] >= 9.5


def test_a_longer_wait_than_ours_is_left_to_who_can_remember_it(net):
    outcome, transport, slept = run(net, one_call(SAFE), answer(429, retry_after="11"))
    assert isinstance(outcome, RateLimited)
    assert outcome.retry_after_s == 11.0
    assert (len(transport.sent), slept) == (1, [])


def test_waits_are_jittered_and_bounded():
    policy, rng = RetryPolicy(attempts=99, first_s=1.0, max_s=10.0), random.Random(1)
    waits = [policy.delay_s(failures, rng, None) for failures in range(1, 99)]
    assert max(waits) <= 10.0
    assert len(set(waits)) == len(waits)
    assert policy.delay_s(99, rng, None) is None


# --- unsafe calls --------------------------------------------------------------------------------------------------


def test_an_unsafe_call_follows_its_intent_and_is_sent_once(net):
    log = []

    class Logging(Script):
        async def send(self, request):
            log.append("sent")
            return await super().send(request)

    driver = Driver(Logging(answer()), OpenAI(), net.FakeClock(), random.Random(7), POLICY)
    assert asyncio.run(driver.run(one_call(UNSAFE), before_unsafe=lambda: log.append("intent"))) == (200, b"{}")
    assert log == ["intent", "sent"]


def test_an_intent_that_cannot_be_committed_stops_the_call(net):
    def full_disk():
        raise OSError("no space left")

    outcome, transport, _ = run(net, one_call(UNSAFE), answer(), before_unsafe=full_disk)
    assert isinstance(outcome, OSError)
    assert transport.sent == []


@pytest.mark.parametrize(
    "failure",
    [
        AnswerLost("cut"),
        UnexpectedAnswer("far too large", status=200),
        answer(500),
        answer(502, b"<html>"),
        answer(504),
        answer(520),
        answer(500, x_should_retry="false"),
        answer(408),
        answer(409),
        answer(425),
        answer(200, b"<html>"),
    ],
)
def test_an_unsafe_call_without_a_clear_answer_is_in_doubt(net, failure):
    outcome, transport, slept = run(net, one_call(UNSAFE), failure)
    assert isinstance(outcome, InDoubt)
    assert outcome.__cause__ is not None
    assert "POST /batches" in str(outcome)
    assert (len(transport.sent), slept) == (1, [])


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (NotSent("no route"), NotSent),
        (answer(400), Rejected),
        (answer(401), AuthenticationFailed),
        (answer(404), NotFound),
        (answer(429), RateLimited),
        (answer(307), Rejected),
        (quota(), QuotaExhausted),
    ],
)
def test_an_unsafe_call_that_was_surely_refused_is_no_doubt_and_not_repeated(net, failure, error):
    outcome, transport, slept = run(net, one_call(UNSAFE), failure)
    assert type(outcome) is error
    assert (len(transport.sent), slept) == (1, [])


def test_a_flow_cannot_take_a_doubt_away(net):
    def flow():
        try:
            yield UNSAFE
        except Exception:  # noqa: BLE001 - as greedy as can be
            return "never mind"

    assert isinstance(run(net, flow(), AnswerLost("cut"))[0], InDoubt)


def test_a_success_nobody_can_read_is_in_doubt_after_unsafe_calls_only(net):
    def flow(request):
        yield request
        raise UnexpectedAnswer("no id in it", status=200)

    assert isinstance(run(net, flow(UNSAFE), answer())[0], InDoubt)
    assert isinstance(run(net, flow(SAFE), answer())[0], UnexpectedAnswer)


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_checkpoints_are_committed_before_the_flow_goes_on(net):
    log = []

    def flow():
        yield Checkpoint({"a": "1"})
        log.append("went on")
        yield SAFE
        yield Checkpoint({"b": "2"})
        return "done"

    outcome, *_ = run(net, flow(), answer(), on_checkpoint=lambda facts: log.append(dict(facts)))
    assert outcome == "done"
    assert log == [{"a": "1"}, "went on", {"b": "2"}]


def test_checkpoints_nobody_wants_are_passed_over(net):
    def flow():
        yield Checkpoint({"a": "1"})
        return "done"

    assert run(net, flow())[0] == "done"


def test_a_checkpoint_that_cannot_be_committed_ends_the_flow(net):
    closed = []

    def flow():
        try:
            yield Checkpoint({"a": "1"})
            yield UNSAFE
        finally:
            closed.append(True)

    def full_disk(_facts):
        raise OSError("no space left")

    outcome, transport, _ = run(net, flow(), answer(), on_checkpoint=full_disk)
    assert isinstance(outcome, OSError)
    assert (closed, transport.sent) == ([True], [])


def test_a_flow_is_closed_when_it_is_called_off(net):
    closed = []

    def flow():
        try:
            yield SAFE
        finally:
            closed.append(True)

    class Hanging:
        async def send(self, _request):
            await asyncio.Event().wait()

    async def call_off():
        driver = Driver(Hanging(), OpenAI(), net.FakeClock(), random.Random(7), POLICY)
        task = asyncio.create_task(driver.run(flow()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(call_off())
    assert closed == [True]


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [AnswerLost("cut"), answer(500), answer(503)])
def test_an_upload_that_may_have_arrived_is_left_to_its_flow_after_a_pause(net, failure):
    outcome, transport, slept = run(net, one_call(UPLOAD), failure)
    assert isinstance(outcome, (AnswerLost, Unavailable))
    assert (len(transport.sent), len(slept)) == (1, 1)


@pytest.mark.parametrize("failure", [NotSent("no route"), answer(429)])
def test_an_upload_that_surely_did_not_arrive_is_repeated(net, failure):
    outcome, transport, _ = run(net, one_call(UPLOAD), failure, answer(200, b"ok"))
    assert (outcome, len(transport.sent)) == ((200, b"ok"), 2)


def test_a_result_file_may_be_late(net, tmp_path):
    flow = OpenAI().fetch(ResultFile("output", "file-1"), tmp_path / "output.jsonl")
    outcome, transport, slept = run(net, flow, answer(404), answer(502), answer(404), answer())
    assert outcome is None
    assert (len(transport.sent), len(slept)) == (4, 3)


def test_a_result_file_that_stays_away_is_not_found(net, tmp_path):
    flow = OpenAI().fetch(ResultFile("output", "file-1"), tmp_path / "output.jsonl")
    outcome, transport, _ = run(net, flow, *[answer(404)] * 4)
    assert isinstance(outcome, NotFound)
    assert len(transport.sent) == 4


def download_that_breaks(part, sizes):
    """Failures of a download, each after the file beside the target has grown to the given size."""

    def failing(size):
        def fail():
            part.write_bytes(b"x" * size)
            return AnswerLost("cut")

        return fail

    return [failing(size) for size in sizes]


def test_a_download_that_comes_forward_is_never_given_up(net, tmp_path):
    flow = OpenAI().fetch(ResultFile("output", "file-1"), tmp_path / "output.jsonl")
    breaks = download_that_breaks(tmp_path / "output.jsonl.part", range(1, 21))
    outcome, transport, _ = run(net, flow, *breaks, answer())
    assert (outcome, len(transport.sent)) == (None, 21)


@pytest.mark.parametrize("sizes", [[5, 5, 5, 5], [5, 0, 4, 5]], ids=["stuck", "starting over"])
def test_a_download_that_does_not_come_forward_is_given_up(net, tmp_path, sizes):
    flow = OpenAI().fetch(ResultFile("output", "file-1"), tmp_path / "output.jsonl")
    outcome, transport, _ = run(net, flow, *download_that_breaks(tmp_path / "output.jsonl.part", sizes))
    assert isinstance(outcome, AnswerLost)
    assert len(transport.sent) == 4


def test_a_file_comes_through_everything_at_once(net, tmp_path):
    """A file that is not there, a gateway's page, a cut, an error and the rest: over a real connection."""
    data, target = b'{"custom_id":"r1"}\n' * 50, tmp_path / "output.jsonl"
    script = [
        net.answer(404, b"{}"),
        net.answer(502, b"<html>"),
        net.answer(200, b"<html>"),
        net.answer(200, data[:400], length=len(data), ETag='"v1"'),
        net.answer(500),
        net.answer(206, data[400:], Content_Range=f"bytes 400-{len(data) - 1}/{len(data)}"),
    ]

    async def fetch():
        async with net.Server(*script).running() as server, net.transport(server.url) as transport:
            driver = Driver(transport, OpenAI(), net.FakeClock(), random.Random(7), POLICY)
            await driver.run(OpenAI().fetch(ResultFile("output", "file-1"), target))
            return server.seen

    seen = asyncio.run(fetch())
    assert target.read_bytes() == data
    assert [one.headers.get("range") for one in seen] == [None] * 4 + ["bytes=400-"] * 2
