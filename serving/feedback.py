"""``POST /v1/feedback``: a thumb, a comment, a corrected answer; corrections become rows of the inbox."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi import APIRouter, Request

from serving.errors import ApiError
from serving.gateway import Gateway
from serving.store import Event
from serving.wire import Feedback, FeedbackReceipt
from stepladder.data.answers import answer_check
from stepladder.data.ingest.inbox import open_inbox
from stepladder.data.references import abstains
from stepladder.files import digest_value, jsonl_text
from stepladder.tasks import TaskSpec

log = logging.getLogger("serving")
routes = APIRouter()
_PATIENCE_S = 10
_INBOX = ThreadPoolExecutor(4, "inbox")


@routes.post("/v1/feedback")
async def give(feedback: Feedback, request: Request) -> FeedbackReceipt:
    """Tie feedback to an answer; confirmed once it is on the disk.

    ``interaction`` is the answer's ``id``. A correction becomes an example for the next climb.
    """
    gateway: Gateway = request.app.state.gateway
    _check(feedback, gateway)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await _keep(gateway, feedback, request.state.key.id)
    except (OSError, sqlite3.Error) as error:  # a timeout too is an OSError
        log.error("feedback is not recorded: %s", type(error).__name__)
        raise ApiError(
            503, "not_recorded", "the feedback is not on the disk: send it again", retry_after_s=10
        ) from error


async def _keep(gateway: Gateway, feedback: Feedback, key_id: str) -> FeedbackReceipt:
    events = await gateway.store.events(feedback.interaction)
    asked = next((event for event in events if event.kind == "asked"), None)
    if asked is None:
        raise ApiError(
            404,
            "interaction_not_found",
            "no such interaction: give the `id` of an answer, before its retention ends",
            param="interaction",
        )
    # The same, sent again because its receipt was lost, is the same row.
    number = f"feedback-{digest_value(feedback.model_dump())[:32]}"
    row = None
    if feedback.correction is not None:
        spec = _spec(gateway, asked.task)
        # Not in the loop's own threads: an inbox far away may hang, and would take them all one by one.
        row = await asyncio.get_running_loop().run_in_executor(
            _INBOX, _to_inbox, gateway, spec, asked, feedback.correction, number
        )
    await _record(gateway, asked, feedback, number, key_id)
    return FeedbackReceipt(id=number, interaction=asked.interaction, row=row)


def _check(feedback: Feedback, gateway: Gateway) -> None:
    texts = [text for text in (feedback.correction, feedback.comment) if text]
    if not texts and feedback.thumb is None:
        raise ApiError(400, "empty_feedback", "give a thumb, a correction or a comment")
    if sum(map(len, texts)) > gateway.settings.limits.characters:
        raise ApiError(
            400, "too_long", f"feedback has at most {gateway.settings.limits.characters} characters"
        )
    if feedback.correction is not None and not feedback.correction.strip():
        raise ApiError(400, "empty_feedback", "the correction is blank", param="correction")


def _spec(gateway: Gateway, task: str) -> TaskSpec:
    """What the task asks of an answer, and so of a corrected one."""
    lineup = gateway.router.lineups.get(task)
    if lineup is None or lineup.champion is None:
        raise ApiError(
            503,
            "no_champion",
            "no release of the task is loaded: send the correction again",
            retry_after_s=10,
        )
    return lineup.champion.task.spec


def _to_inbox(gateway: Gateway, spec: TaskSpec, asked: Event, correction: str, number: str) -> str:
    """Write the corrected example, redacted, as a file that ingestion finds whole or not at all."""
    _check_schema(spec, correction)
    answerable = not abstains(spec, correction)
    answer = gateway.redact(correction)
    row = {"id": number, "messages": _turns(asked.body["messages"], answer), "answerable": answerable}
    name = f"{asked.task}/corrections/{number}.jsonl"
    inbox = open_inbox(gateway.settings.inbox, Path(), 0, Path(), lambda *_: False)
    inbox.send(name, jsonl_text([row]).encode())
    return name


def _check_schema(spec: TaskSpec, correction: str) -> None:
    fault = answer_check(spec.output_schema, Path("task.yaml"))(correction)
    if fault:
        raise ApiError(
            400, "wrong_form", "the correction is not in the form that the task asks for", param="correction"
        )


def _turns(messages: list[dict[str, str]], correction: str) -> list[dict[str, str]]:
    """The conversation with the corrected answer; where its turns do not alternate, the question alone."""
    roles = [turn["role"] for turn in messages]
    alternate = roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    asked = messages if alternate else messages[-1:]
    return [*asked, {"role": "assistant", "content": correction}]


async def _record(gateway: Gateway, asked: Event, feedback: Feedback, number: str, key_id: str) -> None:
    told = feedback.model_dump(exclude={"interaction"}, exclude_none=True)
    body = {**told, "id": number, "key": key_id}
    await gateway.store.keep(
        Event("feedback", asked.interaction, asked.task, asked.release, body, time.time())
    )
    for kind in told:
        gateway.metrics.feedback.labels(asked.task, told["thumb"] if kind == "thumb" else kind).inc()
