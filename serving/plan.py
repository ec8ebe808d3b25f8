"""What to do next for a task, from what is wanted and what is there.

Pure functions of what was just observed, called every few seconds: an event that was lost, an engine that
died or a gateway that restarted needs no case of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stepladder.promotion import Standing, Version

_NONE_PROMOTED = "no release of this task is promoted yet"


@dataclass(frozen=True)
class Held:
    """A release that is loaded and passed its smoke cases here.

    ``alive``: its engine answers and has its model; ``users``: requests that hold it; ``frees_gib``: memory
    that unloading it gives back, 0 where another release uses the same engine.
    """

    id: int
    version: str
    alive: bool = True
    users: int = 0
    frees_gib: float = 0.0


@dataclass(frozen=True)
class Actual:
    """What is there of a task.

    ``serving``: the id of what answers now; ``loading``: versions under way; ``resting``: versions whose
    loading failed and that are tried again later, with the reason; ``cramped``: versions for whose engine
    so many GiB are missing. ``short``: some task's champion lacks memory; ``pending``: some task's champion
    is still to be loaded. What is tried and what waits for a rollback gives way to champions of all tasks.
    """

    serving: int | None = None
    held: tuple[Held, ...] = ()
    loading: frozenset[str] = frozenset()
    resting: Mapping[str, str] = field(default_factory=dict)
    cramped: Mapping[str, float] = field(default_factory=dict)
    short: bool = False
    pending: bool = False

    @property
    def champion(self) -> Held | None:
        """What answers now."""
        return next((one for one in self.held if one.id == self.serving), None)


@dataclass(frozen=True)
class Load:
    """Load a version beside what is there, and try its smoke cases."""

    version: Version


@dataclass(frozen=True)
class Switch:
    """Let requests that start from now on be answered by this."""

    held: int


@dataclass(frozen=True)
class Stop:
    """Let no release answer."""

    reason: str


@dataclass(frozen=True)
class Unload:
    """Let go of what no request holds."""

    held: int


@dataclass(frozen=True)
class Remember:
    """Note in the registry what a rollback goes to."""

    version: str


@dataclass(frozen=True)
class EndTrial:
    """Note in the registry that a version is not on trial any more, and why."""

    version: str
    reason: str


Action = Load | Switch | Stop | Unload | Remember | EndTrial


def target(wanted: Standing, actual: Actual) -> Version | None:
    """The release that should answer: the champion; where that is refused, what answers or answered last."""
    champion = wanted.find(wanted.champion)
    if champion is None or not champion.refused:
        return champion
    now = actual.champion
    last = [now.version] if now and now.alive else []
    found = [wanted.find(number) for number in [*last, wanted.previous]]
    return next((one for one in found if one and not one.refused), None)


def plan(wanted: Standing, actual: Actual) -> list[Action]:
    """The next steps towards what is wanted, in order; none when all is as it should be."""
    aim = target(wanted, actual)
    beside = [*_try(wanted, actual, aim), *_stand_by(wanted, actual, aim)]
    steps = [*_converge(wanted, actual, aim), *beside, *_tidy(wanted, actual, aim)]
    return [*_remember(wanted, actual), *_end_trial(wanted), *steps]


def is_short(wanted: Standing, actual: Actual) -> bool:
    """Whether this task's champion lacks memory."""
    aim = target(wanted, actual)
    return aim is not None and aim.version in actual.cramped


def is_pending(wanted: Standing, actual: Actual) -> bool:
    """Whether this task's champion is being loaded, or comes next."""
    aim = target(wanted, actual)
    return aim is not None and not _ready(aim.version, actual) and aim.version not in actual.resting


def _remember(wanted: Standing, actual: Actual) -> list[Action]:
    """A champion moved by hand leaves its predecessor without a name: give it one before anything changes."""
    now = actual.champion
    known = wanted.find(now.version) if now else None
    if known is None or known.refused or wanted.champion is None:
        return []
    named = known.version in (wanted.champion, wanted.previous)
    return [] if named else [Remember(known.version)]


def _end_trial(wanted: Standing) -> list[Action]:
    """A champion made by hand keeps its share, by which it would be on trial once it is rolled back."""
    champion = wanted.find(wanted.champion)
    if champion is None or not champion.share or wanted.stands_in:
        return []
    return [EndTrial(champion.version, "promoted by hand")]


def _converge(wanted: Standing, actual: Actual, aim: Version | None) -> list[Action]:
    if aim is None:
        return [Stop(_nothing(wanted))] if actual.champion else []
    ready = _ready(aim.version, actual)
    if ready:
        return [] if ready.id == actual.serving else [Switch(ready.id)]
    if aim.version in actual.loading or aim.version in actual.resting:
        return []
    if aim.version in actual.cramped:
        return _make_room(wanted, actual, aim)
    return [Load(aim)]


def _try(wanted: Standing, actual: Actual, aim: Version | None) -> list[Action]:
    """Load the challenger that is to be tried."""
    return _load_beside(challenger(wanted, actual, aim), actual, aim)


def _stand_by(wanted: Standing, actual: Actual, aim: Version | None) -> list[Action]:
    """Load the previous champion, so that a rollback is only a switch; as after a restart."""
    return _load_beside(previous(wanted, actual, aim), actual, aim)


def _load_beside(one: Version | None, actual: Actual, aim: Version | None) -> list[Action]:
    """Load what is not needed to answer: once the champion, and every other task's, is what answers."""
    now = actual.champion
    if one is None or now is None or aim is None or now != _ready(aim.version, actual) or actual.pending:
        return []
    waits = one.version in {*actual.loading, *actual.resting, *actual.cramped}
    return [] if waits or _ready(one.version, actual) else [Load(one)]


def challenger(wanted: Standing, actual: Actual, aim: Version | None) -> Version | None:
    """The release that is to be tried on a share of the requests; none while a champion lacks memory."""
    one = wanted.find(wanted.challenger)
    if one is None or not one.share or one.refused or aim is None:
        return None
    return None if one.version == aim.version or _gives_way(actual, aim) else one


def tried(wanted: Standing, actual: Actual, aim: Version | None) -> Held | None:
    """The challenger, where it is loaded."""
    one = challenger(wanted, actual, aim)
    return _ready(one.version, actual) if one else None


def _ready(version: str, actual: Actual) -> Held | None:
    """What can answer by this version: what answers already, if it can."""
    able = [one for one in actual.held if one.version == version and one.alive]
    return next((one for one in able if one.id == actual.serving), able[0] if able else None)


def _make_room(wanted: Standing, actual: Actual, aim: Version) -> list[Action]:
    """Drain and switch: stop the champion if that, and nothing less, gives the memory that is missing.

    What waits for a rollback is given up before that (`_tidy`), and its name must stand in the registry.
    """
    now = actual.champion
    if now is None or any(one.id != now.id for one in actual.held):
        return []
    is_named = now.version in (wanted.previous, wanted.champion)
    if is_named and now.frees_gib >= actual.cramped[aim.version]:
        return [Stop(f"version {aim.version} is being loaded; there is memory for one engine only")]
    return []


def _tidy(wanted: Standing, actual: Actual, aim: Version | None) -> list[Action]:
    kept = {actual.serving}
    chosen = _ready(aim.version, actual) if aim else None
    if chosen:
        kept.add(chosen.id)
    standby = rollback_target(wanted, actual, aim)
    trial = tried(wanted, actual, aim)
    kept |= {one.id for one in (standby, trial) if one}
    return [Unload(one.id) for one in actual.held if one.id not in kept and not one.users]


def previous(wanted: Standing, actual: Actual, aim: Version | None) -> Version | None:
    """The release that a rollback goes to; none while a champion lacks memory."""
    one = wanted.find(wanted.previous)
    if one is None or one.refused or one == aim:
        return None
    return None if _gives_way(actual, aim) else one


def rollback_target(wanted: Standing, actual: Actual, aim: Version | None) -> Held | None:
    """What a rollback goes to, where it is loaded."""
    one = previous(wanted, actual, aim)
    return _ready(one.version, actual) if one else None


def _gives_way(actual: Actual, aim: Version | None) -> bool:
    return actual.short or (aim is not None and aim.version in actual.cramped)


def explain(wanted: Standing, actual: Actual) -> str:
    """Why what answers is not what is wanted, in words; ``as wanted`` where it is."""
    champion = wanted.find(wanted.champion)
    now = actual.champion
    if champion is None:
        return _nothing(wanted)
    if champion.refused:
        kept = f"; version {now.version} answers" if now else ""
        return f"version {champion.version} was refused: {champion.refused}{kept}"
    if now and now.version == champion.version and now.alive:
        return "as wanted"
    return _progress(champion, actual)


def explain_trial(wanted: Standing, actual: Actual) -> str | None:
    """Why the challenger that is to be tried is not; ``as wanted`` where it is, None where there is none."""
    one = wanted.find(wanted.challenger)
    if one is None or not one.share or one.version == wanted.champion:
        return None
    number, aim, now = one.version, target(wanted, actual), actual.champion
    if one.refused:
        return f"version {number} was refused: {one.refused}"
    if aim is None or now is None or now.version != wanted.champion:
        return f"version {number} waits for the champion to answer"
    if tried(wanted, actual, aim):
        return "as wanted"
    if _gives_way(actual, aim):
        return f"version {number} gives way to a champion that lacks memory"
    return _progress(one, actual)


def _progress(champion: Version, actual: Actual) -> str:
    number = champion.version
    now = actual.champion
    died = f"the engine of version {number} died; " if now and now.version == number else ""
    if number in actual.loading:
        return f"{died}version {number} is being loaded"
    if number in actual.resting:
        return f"{died}version {number} is tried again soon: {actual.resting[number]}"
    if number in actual.cramped:
        return f"{died}{actual.cramped[number]:.1f} GiB of memory are missing for version {number}"
    return f"{died}version {number} comes next"


def excuse(wanted: Standing) -> str:
    """Why nothing answers, as those who ask may know it: what went wrong is for the operator."""
    return _NONE_PROMOTED if wanted.champion is None else "no release of this task answers now"


def _nothing(wanted: Standing) -> str:
    if wanted.champion is None:
        return _NONE_PROMOTED
    return f"version {wanted.champion} was refused, and none before it can answer"
