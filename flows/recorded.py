"""Datasets that stand in a checkout, but in no commit: a clone would miss them."""

from __future__ import annotations

from flows.place import Place
from stepladder.data.git import git
from stepladder.data.ingest import versions
from stepladder.files import digest_value


def record_datasets(place: Place) -> list[str]:
    """Give what neither git nor DVC knows to DVC, and commit that; what was recorded.

    Raises:
        StepladderError: the project is no git repository with DVC, or one of them failed.
    """
    versions.require_repository(place.project)
    found = [
        path
        for task in place.settings.tasks
        for part in versions.PARTS
        if (place.project / (path := f"tasks/{task}/{part}")).exists()
        and not git(place.project, "ls-files", "--", path, f"{path}.dvc")
    ]
    if found:
        versions.store(place.project, found)
        batch = f"datasets-{digest_value([git(place.project, 'rev-parse', 'HEAD'), *found])[:16]}"
        versions.commit(place.project, found, f"Record the datasets: {', '.join(found)}", batch)
    return found
