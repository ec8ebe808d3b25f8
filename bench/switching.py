"""What a promotion costs those who ask: answers during switches against answers without, in one run.

So many streams ask without pause while the champion is moved among three releases, of which two stay loaded:
some moves are rollbacks, some load anew. A switch lasts until its release has answered each stream; then
there is calm for as long. Gateway, clients and engines share one machine.

Engines are stubs of constant latency, one a release. With ``--engine start`` they are real, each with a copy
of the packaged base model, so that every load starts an engine beside the one that answers, as an adapter's
does on a CPU: that takes memory for three engines, and minutes.

    python bench/switching.py [--engine start] [--streams 20] [--switches 10] [--latency-ms 400] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from serving.reconciler import Reconciler  # noqa: E402
from stepladder.promotion import Standing, Version  # noqa: E402
from tests.serving.house import House, answering, house_in, wait_until  # noqa: E402
from tests.serving.reconciling import TASK, FakeRegistry, said_by, shop_in  # noqa: E402
from tests.serving.storm import Storm, Tally  # noqa: E402

ORDER = "2123132312"
# Of a release of a real engine: few words, so that twenty streams on two cores take seconds.
REAL_WORDS = 4


@dataclass(frozen=True)
class _Shop:
    """A reconciler, and how its releases are promoted and speak."""

    registry: FakeRegistry
    reconciler: Reconciler
    patience_s: float

    @property
    def real(self) -> bool:
        return self.patience_s > 60


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch, house_in(Path(scratch)) as house:
        tally = _measured(options, Path(scratch), house)
    found = _figures(options, tally)
    if options.json:
        print(json.dumps(found))
        return
    engine = "real engines" if options.engine else f"stub engines of {options.latency_ms:.0f} ms"
    print(f"{engine}, {options.streams} streams, {options.switches} switches")
    for when, name in (("without", "without a switch"), ("during", "during a switch ")):
        one = found[when]
        times = f"p50 {one['p50_ms']:>8.0f} ms   p99 {one['p99_ms']:>8.0f} ms"
        print(f"{name}   {one['answers']:>6} answers   {times}")
    print(f"p99 during a switch by p99 without: {found['p99_ratio']:.2f}   (goal 2 with stubs)")
    print(f"failed: {found['failed']}, of two releases: {found['mixed']}   (goal 0)")
    for one in [*tally.failed, *tally.mixed][:3]:
        print(f"    {one[:300]}")


def _measured(options: argparse.Namespace, scratch: Path, house: House) -> Tally:
    made = _real(scratch, house) if options.engine else _stubs(scratch, house, options.latency_ms)
    with made as shop:
        storm = Storm(
            options.streams,
            "".join(islice(cycle(ORDER), options.switches)),
            _said if shop.real else said_by,
            shop.registry.promote,
            shop.patience_s,
        )
        with answering(house, reconciler=shop.reconciler) as gate:
            wait_until(lambda: house.router.lineups[TASK].champion is not None, shop.patience_s)
            return asyncio.run(storm.blow(gate))


def _figures(options: argparse.Namespace, tally: Tally) -> dict[str, Any]:
    times = {"without": tally.calm_s, "during": tally.switch_s}
    found: dict[str, Any] = {
        when: {
            "answers": len(seconds),
            "p50_ms": round(1000 * float(np.percentile(seconds, 50)), 1),
            "p99_ms": round(1000 * float(np.percentile(seconds, 99)), 1),
        }
        for when, seconds in times.items()
    }
    return {
        "engine": options.engine or "stub",
        "streams": options.streams,
        "switches": options.switches,
        **found,
        "p99_ratio": round(found["during"]["p99_ms"] / found["without"]["p99_ms"], 3),
        "failed": len(tally.failed),
        "mixed": len(tally.mixed),
    }


@contextmanager
def _stubs(scratch: Path, house: House, latency_ms: float) -> Iterator[_Shop]:
    shop = shop_in(scratch, "1", house.router, latency_s=latency_ms / 1000)
    yield _Shop(shop.registry, shop.reconciler, 60)


@contextmanager
def _real(scratch: Path, house: House) -> Iterator[_Shop]:
    """Three releases that lie where copies from the registry would, each with a base model of its own."""
    from serving.loading import Loader
    from serving.search import SearchProcess
    from serving.settings import Reconcile
    from stepladder.settings import load_settings
    from stepladder.stages.workspace import Workspace

    settings = load_settings(ROOT / "params.yaml")
    settings = settings.model_copy(update={"engine": settings.engine.model_copy(update={"url": None})})
    workspace, registry = Workspace(scratch, settings), FakeRegistry("1")
    versions = {number: _frozen(workspace, number) for number in "123"}
    registry.standing = Standing(champion="1", versions=versions)
    with closing(SearchProcess()) as searches:
        reconcile = Reconcile()
        loader = Loader(workspace, reconcile, searches)
        record = scratch / "serving.json"
        reconciler = Reconciler(house.router, [TASK], registry, loader, record, reconcile)
        yield _Shop(registry, reconciler, 1800)


def _said(version: str) -> str:
    """The one answer that a release's schema allows."""
    return json.dumps(" ".join([f"v{version}"] * REAL_WORDS))


def _frozen(workspace: Any, number: str) -> Version:
    import yaml

    from stepladder.files import digest_file, write_json
    from stepladder.models import PACKAGED_BASE, model_digest
    from stepladder.prompting.compose import Plan
    from stepladder.releases import OUTCOMES, Release, files_digest, freeze, short
    from stepladder.settings import Knowledge
    from tests.serving.test_smoke import outcome, outcomes

    folder = workspace.root / "training" / number
    shutil.copytree(ROOT / PACKAGED_BASE, folder / "models/base", copy_function=os.symlink)
    task = folder / "task"
    task.mkdir()
    spec = {"title": TASK, "scorer": "exact", "bars": {"score": 0.5}, "margin": 0.1, "monthly_requests": 1}
    form = {"output_schema": {"enum": [json.loads(_said(number))]}}
    (task / "task.yaml").write_text(yaml.safe_dump({**spec, **form}))
    (task / "prompt.md").write_text(f"Say v{number}.")
    told = outcomes(outcome(1, _said(number)), outcome(2, _said(number)))
    write_json(folder / OUTCOMES, told.model_dump(mode="json"))
    release = Release(
        task=TASK,
        plan=Plan(rung="prompt", context_tokens=10, constrained=True),
        base=str(folder / "models/base"),
        base_digest=model_digest(str(folder / "models/base")),
        embedder="none",
        knowledge=Knowledge(),
        task_digest=number,
        prompt_digest=digest_file(task / "prompt.md"),
        index_version=None,
        adapter_digest=None,
        verdict_digest="v",
    )
    out = workspace.releases / short(release.digest)
    freeze(release, out, task=task, files={OUTCOMES: folder / OUTCOMES}, index=None, adapter=None)
    return Version(version=number, digest=release.digest, rung="prompt", files=files_digest(out))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", choices=["start"], help="real engines, started here")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--switches", type=int, default=10)
    parser.add_argument("--latency-ms", type=float, default=400, help="of a stub's answer")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
