"""`Client` and `AsyncClient`: they run the flows of `exchange`, watch over WebSockets, and move files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from elasticrecode_client import calls, downloading, settings, transport, uploading, waiting
from elasticrecode_client.auth import Auth
from elasticrecode_client.calls import Call, Flow, Pause, Request, T
from elasticrecode_client.deployment import Deployment
from elasticrecode_client.downloading import Digest, Fetch, Received
from elasticrecode_client.exchange import Exchange
from elasticrecode_client.following import Following
from elasticrecode_client.jobs import Jobs
from elasticrecode_client.states import ENDINGS
from elasticrecode_client.transfers import AsyncTransfers, Transfers
from elasticrecode_client.types import JobRecord, PlanRecord
from elasticrecode_client.uploading import Begin, Progress, Report
from elasticrecode_client.version import __version__
from elasticrecode_client.watch import AsyncWatch, Watch
from elasticrecode_client.watching import Watching

_AGENT = f"elasticrecode-python/{__version__}"


class _Base(Jobs, Deployment):
    """What both clients keep: where the deployment is, and who calls."""

    def __init__(
        self,
        url: str | None = None,
        *,
        auth: Auth | None = None,
        user_id: str | None = None,
        profile: str | None = None,
        patience: float = 60.0,
        timeout: float = 35.0,
        socket_url: str | None = None,
    ) -> None:
        """A client of the deployment at `url`; what is absent comes from the environment or a profile (`settings`).

        `user_id` is the user of calls that name none, by default the caller. Retries of a call take at most `patience`
        seconds; `timeout` is how many an answer may take. `socket_url` is the URL of the WebSocket API, by default
        `/ws` of `url`: `auth` `iam` needs it. Raises SettingsError.
        """
        given = settings.Settings(url) if url and auth else settings.load(url, profile)
        self.exchange = Exchange(given.url, auth or given.auth, user_id or given.user_id, patience, _AGENT)
        self.socket_url = socket_url or given.socket_url or f"ws{self.exchange.url.removeprefix('http')}/ws"
        self._options = transport.Options(connect=10.0, read=timeout)
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.exchange.url!r}, auth={self.exchange.auth!r})"

    @property
    def url(self) -> str:
        """The base URL of the deployment."""
        return self.exchange.url

    def _following(
        self,
        job_ids: str | Iterable[str] | None,
        user_id: str | None,
        batch_id: str | None,
        actions: Iterable[str] | None,
        cursor: str | None,
        since: float | None,
    ) -> Following:
        jobs = [job_ids] if isinstance(job_ids, str) else list(job_ids or ())
        filters = {"userID": user_id or "", "batchID": batch_id or "", "actions": ",".join(actions or ())}
        if len(jobs) == 1:
            filters["jobID"] = jobs[0]
        watching = Watching(filters=filters, jobs=jobs, cursor=cursor, since=since)
        return Following(self.exchange, self.socket_url, watching)

    def _job_ends(self, job_ids: list[str]) -> Following:
        return self._following(job_ids, None, None, ENDINGS, None, None)


class Client(_Base):
    """Calls the API of a deployment and waits for each answer. Use it in a `with` statement, or `close` it.

    Several threads may use one client at the same time.
    """

    def _open(self) -> None:
        self._http = httpx.Client(timeout=self._options.timeout, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """The end of a flow, whose steps are taken one after another."""
        return calls.run(flow, self.take)

    def take(self, step: Any) -> Any:
        """Take a step of a flow: send a request, or pause."""
        if isinstance(step, Request):
            return transport.send(self._http, step)
        if isinstance(step, Fetch):
            return transport.fetch(self._http, step)
        if isinstance(step, Digest):
            return step.read()
        if isinstance(step, Pause):
            time.sleep(step.seconds)
        return None

    def pages(self, call: Call[list[T]]) -> Iterator[T]:
        """The entries of a list, page after page."""
        following: Call[Any] | None = call
        while following:
            page = self.run(self.exchange.page(following))
            yield from page.entries
            following = page.following

    def watch(
        self,
        job_ids: str | Iterable[str] | None = None,
        *,
        user_id: str | None = None,
        batch_id: str | None = None,
        actions: Iterable[str] | None = None,
        cursor: str | None = None,
        since: float | None = None,
    ) -> Watch:
        """Events that match all filters, as they happen; without filters all that the caller may see.

        `cursor` goes on behind an earlier event; `since` begins with the events after that Unix second, with 0 at the
        latest 100. The watch mends its connection by itself, and its `cursor` is that of the last event.
        """
        return Watch(self._following(job_ids, user_id, batch_id, actions, cursor, since), self.take)

    def wait(self, job_ids: str | Iterable[str], *, timeout: float | None = None) -> list[JobRecord]:
        """The records of jobs once all have ended, in the order of `job_ids`, by watching.

        Raises TimeoutError when they have not ended within `timeout` seconds.
        """
        jobs = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        with Watch(self._job_ends(jobs), self.take) as watch:
            return watch.run(waiting.ends(self.exchange, watch.following, jobs, timeout))

    def wait_for_plan(self, plan_id: str, *, timeout: float | None = None) -> PlanRecord:
        """A plan once it has ended. Raises TimeoutError when it has not within `timeout` seconds."""
        return self.run(waiting.plan_end(self.exchange, plan_id, timeout))

    def upload(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        user_id: str | None = None,
        progress: Progress | None = None,
        resume: bool = True,
        key: str | None = None,
    ) -> str:
        """Upload a file in parts, several at a time; its `s3://` URI, for an `input`.

        After a broken process the next call goes on with the parts that S3 lacks, unless the file has changed or
        `resume` is False. With the same `key` the same bytes and name have the same URI, also from another machine.
        `progress` gets `Sent(sent, total)` in bytes. Raises TransferFailed.
        """
        flow = uploading.upload(
            self.exchange,
            Path(path),
            settings.cache_folder(),
            name=name,
            user_id=user_id,
            progress=progress,
            resume=resume,
            key=key,
        )
        with Transfers(self._http, Path(path)) as transfers:

            def take(step: Any) -> Any:
                if isinstance(step, Begin):
                    return transfers.begin(step)
                return transfers.report() if isinstance(step, Report) else self.take(step)

            return calls.run(flow, take)

    def download(
        self, job_id: str, folder: str | Path, *, progress: Callable[[Received], None] | None = None
    ) -> list[Path]:
        """Download the outputs of a finished job into a folder; their paths, as they lie below the output's prefix.

        A file that is there and whole is kept, and one that broke off goes on. Where one would take the place of
        another file, all go to a folder of the job. `progress` gets `Received(path, received, total)` in bytes. Raises
        TransferFailed, also for a job that has not finished, and FileExistsError where that folder has another, too.
        """
        return self.run(downloading.download(self.exchange, job_id, Path(folder), progress))


class AsyncClient(_Base):
    """The same for asyncio: methods are coroutines, lists are asynchronous iterators."""

    def _open(self) -> None:
        self._http = httpx.AsyncClient(timeout=self._options.timeout, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """The end of a flow, whose steps are taken one after another."""
        return await calls.run_async(flow, self.take)

    async def take(self, step: Any) -> Any:
        """Take a step of a flow: send a request, or pause."""
        if isinstance(step, Request):
            return await transport.send_async(self._http, step)
        if isinstance(step, Fetch):
            return await transport.fetch_async(self._http, step)
        if isinstance(step, Digest):
            return await asyncio.to_thread(step.read)
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        return None

    async def pages(self, call: Call[list[T]]) -> AsyncIterator[T]:
        """The entries of a list, page after page."""
        following: Call[Any] | None = call
        while following:
            page = await self.run(self.exchange.page(following))
            for entry in page.entries:
                yield entry
            following = page.following

    def watch(
        self,
        job_ids: str | Iterable[str] | None = None,
        *,
        user_id: str | None = None,
        batch_id: str | None = None,
        actions: Iterable[str] | None = None,
        cursor: str | None = None,
        since: float | None = None,
    ) -> AsyncWatch:
        """Events that match all filters, as they happen, like `Client.watch`."""
        return AsyncWatch(self._following(job_ids, user_id, batch_id, actions, cursor, since), self.take)

    async def wait(self, job_ids: str | Iterable[str], *, timeout: float | None = None) -> list[JobRecord]:
        """The records of jobs once all have ended, like `Client.wait`."""
        jobs = [job_ids] if isinstance(job_ids, str) else list(job_ids)
        async with AsyncWatch(self._job_ends(jobs), self.take) as watch:
            return await watch.run(waiting.ends(self.exchange, watch.following, jobs, timeout))

    async def wait_for_plan(self, plan_id: str, *, timeout: float | None = None) -> PlanRecord:
        """A plan once it has ended, like `Client.wait_for_plan`."""
        return await self.run(waiting.plan_end(self.exchange, plan_id, timeout))

    async def upload(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        user_id: str | None = None,
        progress: Progress | None = None,
        resume: bool = True,
        key: str | None = None,
    ) -> str:
        """Upload a file, like `Client.upload`."""
        flow = uploading.upload(
            self.exchange,
            Path(path),
            settings.cache_folder(),
            name=name,
            user_id=user_id,
            progress=progress,
            resume=resume,
            key=key,
        )
        async with AsyncTransfers(self._http, Path(path)) as transfers:

            async def take(step: Any) -> Any:
                if isinstance(step, Begin):
                    return transfers.begin(step)
                return await (transfers.report() if isinstance(step, Report) else self.take(step))

            return await calls.run_async(flow, take)

    async def download(
        self, job_id: str, folder: str | Path, *, progress: Callable[[Received], None] | None = None
    ) -> list[Path]:
        """Download the outputs of a finished job, like `Client.download`."""
        return await self.run(downloading.download(self.exchange, job_id, Path(folder), progress))
