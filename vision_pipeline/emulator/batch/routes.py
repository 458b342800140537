"""The endpoints of files and batch jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import orjson
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from vision_pipeline.emulator.answers import ABANDONED, WITHHELD
from vision_pipeline.emulator.batch.file_service import FileService
from vision_pipeline.emulator.batch.forms import (
    FileQuery,
    JobQuery,
    JobView,
    Upload,
    UrlQuery,
    parse_fields,
)
from vision_pipeline.emulator.batch.service import JobService
from vision_pipeline.emulator.batch.state import BatchState, Submission
from vision_pipeline.emulator.completions import Completions
from vision_pipeline.emulator.conditions import Conditions
from vision_pipeline.emulator.effects import Lose, Refuse
from vision_pipeline.emulator.gateway import RequestWires
from vision_pipeline.emulator.problems import RefusalError, detail_error, too_large
from vision_pipeline.emulator.responses import json_response, read_body, response_of

# What a form says around its file.
_FORM_BYTES = 64 * 1024
_NO_FILE = {"type": "missing", "loc": ["body", "file"], "msg": "Field required"}

Handler = Callable[[Request], Awaitable[Response]]


class BatchEndpoints:
    """Files and batch jobs, from HTTP to the services behind.

    Args:
        state: What they share.
        conditions: Which key is accepted, and how requests move the script on.
        completions: Who answers the lines.
    """

    def __init__(self, state: BatchState, conditions: Conditions, completions: Completions) -> None:
        self._state = state
        self._conditions = conditions
        self._files = FileService(state)
        self._jobs = JobService(state, completions)

    def routes(self) -> list[Route]:
        """All addresses."""
        return [
            self._route("POST", "/v1/files", self._upload),
            self._route("GET", "/v1/files", self._list_files),
            self._route("GET", "/v1/files/{file_id}", self._show_file),
            self._route("DELETE", "/v1/files/{file_id}", self._delete_file),
            self._route("GET", "/v1/files/{file_id}/content", self._download),
            self._route("GET", "/v1/files/{file_id}/url", self._sign),
            self._route("POST", "/v1/batch/jobs", self._create_job),
            self._route("GET", "/v1/batch/jobs", self._list_jobs),
            self._route("GET", "/v1/batch/jobs/{job_id}", self._show_job),
            self._route("DELETE", "/v1/batch/jobs/{job_id}", self._delete_job),
            self._route("POST", "/v1/batch/jobs/{job_id}/cancel", self._cancel_job),
            Route("/_emulator/files/{file_id}", self._download_signed, methods=["GET"]),
        ]

    def stats(self) -> dict[str, Any]:
        """The counters as a JSON object."""
        return self._state.stats.as_json()

    def reset(self) -> None:
        """Begin anew, as after the start."""
        self._jobs.reset()
        self._state.reset()

    def close(self) -> None:
        """Give up what is being worked on."""
        self._jobs.close()

    async def _upload(self, request: Request) -> Response:
        self._conditions.arrive(self._state.now_s())
        try:
            async with self._submitted(request) as submission:
                await self._take_upload(request, submission)
        except RefusalError:
            self._state.stats.uploads_refused += 1
            raise
        return await self._answer(request, submission)

    async def _take_upload(self, request: Request, submission: Submission) -> None:
        receive = _Limited(request, self._state.settings.most_file_bytes + _FORM_BYTES)
        try:
            async with Request(request.scope, receive).form() as form:
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise detail_error(HTTPStatus.UNPROCESSABLE_ENTITY, [_NO_FILE])
                name = file.filename or "upload"
                fields = [pair for pair in form.multi_items() if pair[0] != "file"]
                submission.body = {**dict(fields), "filename": name, "bytes": file.size}
                upload = parse_fields(Upload, fields, where="body")
                card = await self._files.upload(name, upload, file.file, submission)
                submission.reply.update(card)
        except HTTPException as error:
            if receive.is_exceeded:
                raise too_large() from error
            raise detail_error(error.status_code, error.detail) from error

    async def _list_files(self, request: Request) -> Response:
        query = parse_fields(FileQuery, request.query_params.multi_items())
        return json_response(self._files.list(query))

    async def _show_file(self, request: Request) -> Response:
        return json_response(self._files.show(request.path_params["file_id"]))

    async def _delete_file(self, request: Request) -> Response:
        return json_response(self._files.delete(request.path_params["file_id"]))

    async def _download(self, request: Request) -> Response:
        size_bytes, pieces = self._files.download(request.path_params["file_id"])
        return StreamingResponse(
            pieces,
            media_type="application/octet-stream",
            headers={"content-length": str(size_bytes)},
        )

    async def _sign(self, request: Request) -> Response:
        file_id = request.path_params["file_id"]
        query = parse_fields(UrlQuery, request.query_params.multi_items())
        signed = self._files.sign(file_id, query.expiry)
        return json_response({"url": f"{request.base_url}_emulator/files/{file_id}?{signed}"})

    async def _download_signed(self, request: Request) -> Response:
        query = request.query_params
        self._files.check_signature(
            request.path_params["file_id"], query.get("se", ""), query.get("sig", "")
        )
        return await self._download(request)

    async def _create_job(self, request: Request) -> Response:
        self._conditions.arrive(self._state.now_s())
        try:
            async with self._submitted(request) as submission:
                submission.body = raw = await read_body(request)
                submission.reply.update(self._jobs.create(raw, submission))
        except RefusalError:
            self._state.stats.jobs_refused += 1
            raise
        return await self._answer(request, submission)

    async def _list_jobs(self, request: Request) -> Response:
        self._poll("")
        query = parse_fields(JobQuery, request.query_params.multi_items())
        return json_response(await self._jobs.list(query))

    async def _show_job(self, request: Request) -> Response:
        job_id = request.path_params["job_id"]
        self._poll(job_id)
        view = parse_fields(JobView, request.query_params.multi_items())
        return json_response(await self._jobs.show(job_id, inline=bool(view.inline)))

    async def _delete_job(self, request: Request) -> Response:
        return json_response(self._jobs.delete(request.path_params["job_id"]))

    async def _cancel_job(self, request: Request) -> Response:
        self._state.stats.cancels += 1
        return json_response(await self._jobs.cancel(request.path_params["job_id"]))

    def _poll(self, job_id: str) -> None:
        self._state.stats.polls += 1
        fault = self._state.draw("poll", job_id.encode())
        if fault is not None and isinstance(fault.effect, Refuse):
            raise fault.effect.error()

    @asynccontextmanager
    async def _submitted(self, request: Request) -> AsyncIterator[Submission]:
        """A submission, whose reply is to be filled in; captured however that ends."""
        submission = Submission(f"{request.method} {request.url.path}")
        try:
            yield submission
        except RefusalError as error:
            self._capture(submission, error.status, error.body)
            raise
        is_lost = isinstance(submission.effect, Lose)
        self._capture(submission, None if is_lost else 200, orjson.dumps(submission.reply))

    def _capture(self, submission: Submission, status: int | None, reply: bytes) -> None:
        self._state.captures.add(
            submission.request,
            body=submission.body,
            fault=None if submission.fault is None else submission.fault.kind,
            status=status,
            reply=reply,
        )

    async def _answer(self, request: Request, submission: Submission) -> Response:
        if isinstance(submission.effect, Lose):
            await RequestWires(request).reset()
            return response_of(WITHHELD)
        return json_response(submission.reply)

    def _route(self, method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            key = request.headers.get("authorization", "")
            self._conditions.authorize(key, self._state.now_s())
            try:
                return await handler(request)
            except ClientDisconnect:
                return response_of(ABANDONED)

        return Route(path, endpoint, methods=[method])


class _Limited:
    """Receives a request up to so many bytes."""

    def __init__(self, request: Request, most_bytes: int) -> None:
        self._request = request
        self._left_bytes = most_bytes

    @property
    def is_exceeded(self) -> bool:
        """Whether there were more."""
        return self._left_bytes < 0

    async def __call__(self) -> Message:
        """The next piece."""
        message = await self._request.receive()
        self._left_bytes -= len(message.get("body", b""))
        if self.is_exceeded:
            raise MultiPartException("too large")  # upon which what was received is let go
        return message
