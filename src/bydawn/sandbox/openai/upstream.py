"""Answers from a real model: any OpenAI-compatible endpoint, asked row by row while the batch is in progress.

Rows come one by one here, in the order they are answered, and each is kept at once; after a kill only the missing ones
are asked again. As the model needs real time, the 24-hour window of virtual time does not apply.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

from bydawn.sandbox.openai.errors import ApiError
from bydawn.sandbox.openai.models import PATHS
from bydawn.sandbox.openai.results import EVERY_ROW, Workshop, write_row

if TYPE_CHECKING:
    from bydawn.sandbox.config import SandboxConfig
    from bydawn.sandbox.openai.execution import Executor
    from bydawn.sandbox.openai.models import Endpoint
    from bydawn.sandbox.openai.records import StoredBatch
    from bydawn.sandbox.world import World

_PATH_OF = {endpoint: path.removeprefix("/v1") for path, endpoint in PATHS.items()}
_PROBE_TIMEOUT_S = 5.0


class Upstream:
    """The endpoint that answers. Safe to use from several threads."""

    def __init__(self, config: SandboxConfig) -> None:
        assert config.upstream_url is not None
        headers = {"Authorization": f"Bearer {config.upstream_key}"} if config.upstream_key else {}
        self._base = config.upstream_url.rstrip("/")
        self._model = config.upstream_model
        self._client = httpx2.Client(headers=headers, timeout=config.upstream_timeout_s, trust_env=False)

    def is_reachable(self) -> bool:
        """Whether something answers HTTP there."""
        try:
            self._client.get(f"{self._base}/models", timeout=_PROBE_TIMEOUT_S)
        except httpx2.HTTPError:
            return False
        return True

    def answer(self, endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any]:
        """The upstream's response body. Raises ApiError with the upstream's own status, or 500 without an answer."""
        sent = {**body, "model": self._model or body["model"]}
        if endpoint == "chat" and "max_completion_tokens" in sent:
            sent["max_tokens"] = sent.pop("max_completion_tokens")
        try:
            response = self._client.post(
                self._base + _PATH_OF[endpoint],
                content=msgspec.json.encode(sent),
                headers={"content-type": "application/json"},
            )
            answer = msgspec.json.decode(response.content)
        except (httpx2.HTTPError, RuntimeError, msgspec.DecodeError) as error:  # RuntimeError: closed while asking
            raise ApiError(500, f"The upstream gave no answer: {type(error).__name__}", type="server_error") from error
        if not response.is_success or not isinstance(answer, dict):
            raise _row_error(response.status_code, answer)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def open_upstream(config: SandboxConfig, notes: list[str]) -> Upstream | None:
    """The configured upstream, or None with a note when there is none to be reached."""
    if config.upstream_url is None:
        return None
    upstream = Upstream(config)
    if upstream.is_reachable():
        return upstream
    upstream.close()
    notes.append(f"nothing answered at the upstream {config.upstream_url}: answers come from the seeded generator")
    return None


def _row_error(status: int, answer: Any) -> ApiError:
    error = answer.get("error") if isinstance(answer, dict) else None
    details = error if isinstance(error, dict) else {"message": str(error or "The upstream refused the request.")}
    code = details.get("code")
    return ApiError(
        status if status >= 400 else 500,
        str(details.get("message")),
        type=str(details.get("type") or "server_error"),
        param=details.get("param"),
        code=None if code is None else str(code),
    )


class UpstreamRuns:
    """The batches that are being answered."""

    def __init__(self, world: World, upstream: Upstream, executor: Executor) -> None:
        self._world = world
        self._upstream = upstream
        self._executor = executor
        self._runs: dict[str, _Run] = {}

    def ensure(self, batch: StoredBatch) -> bool:
        """Have `batch` answered, and tell whether it is done."""
        run = self._runs.get(batch.id)
        if run is None:
            run = self._runs[batch.id] = _Run(self._world, batch, self._executor)
        return run.is_done

    def stop(self, batch_id: str) -> None:
        """Take no further answers for a batch: when this returns, its spool files are left alone."""
        run = self._runs.get(batch_id)
        if run is not None:
            run.stop()
            self._runs.pop(batch_id, None)

    def stop_all(self) -> None:
        """Stop every run, and close the upstream."""
        for batch_id in list(self._runs):
            self.stop(batch_id)
        self._upstream.close()


class _Run:
    """A few threads that take the requests of one batch in turn."""

    def __init__(self, world: World, batch: StoredBatch, executor: Executor) -> None:
        self._world = world
        self._batch = batch
        self._executor = executor
        workshop = Workshop(world, batch)
        done = world.store.row_custom_ids(batch.id, EVERY_ROW)
        self._output, self._errors, self._position = workshop.reopen()
        self._requests = (request for request in workshop.requests() if request[0].custom_id not in done)
        self._lock = threading.Lock()
        self._stopped = False
        self.is_done = self._position >= batch.total
        if self.is_done:
            self._close_files()
            return
        for n in range(world.config.upstream_concurrency):
            threading.Thread(target=self._work, name=f"upstream-{n}", daemon=True).start()

    def stop(self) -> None:
        """Let no further row in. Requests under way finish unheard."""
        with self._lock:
            self._stopped = True
            self._close_files()

    def _work(self) -> None:
        endpoint = PATHS[self._batch.endpoint]
        while True:
            with self._lock:
                request = None if self._stopped else next(self._requests, None)
            if request is None:
                return
            place, body = request
            created = self._world.clock.now()
            outcome = self._executor.run(
                endpoint, body, place, created, status_for_all=self._batch.quirks.all_rows_status
            )
            with self._lock:
                if self._stopped:
                    return
                row = write_row(self._output, self._errors, outcome, place, self._position)
                self._output.flush()
                self._errors.flush()
                self._world.store.add_rows([row])
                self._position += 1
                self.is_done = self._position >= self._batch.total
                if self.is_done:
                    self._close_files()
                    self._world.wake()

    def _close_files(self) -> None:
        self._output.close()
        self._errors.close()
