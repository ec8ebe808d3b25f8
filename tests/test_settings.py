from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from stepladder.errors import StepladderError
from stepladder.settings import Settings, Sizes, SizesByHardware, Tuning, TuningOfTask, load_settings

ROOT = Path(__file__).parents[1]
VARIABLES = ("MLFLOW_TRACKING_URI", "QDRANT_URL", "STEPLADDER_ENGINE_URL", "STEPLADDER_GATEWAY_URL")


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def raw() -> dict[str, Any]:
    """The project's own parameters."""
    value = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert isinstance(value, dict)
    return value


def load(folder: Path, content: object) -> Settings:
    path = folder / "params.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_settings(path)


def test_the_projects_parameters_load_and_choose_their_column(tmp_path: Path, raw: dict[str, Any]) -> None:
    settings = load(tmp_path, raw | {"hardware": "cpu"})
    assert settings.size == settings.sizes.cpu
    assert load(tmp_path, raw | {"hardware": "gpu"}).size == settings.sizes.gpu


def test_params_yaml_states_every_parameter(raw: dict[str, Any]) -> None:
    def names(value: Any) -> Any:
        return {key: names(inner) for key, inner in value.items()} if isinstance(value, dict) else None

    assert names(Settings.model_validate(raw).model_dump(by_alias=True)) == names(raw)


def test_the_environment_overrides_where_things_are(
    tmp_path: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://{name.lower()}")
    del raw["engine"]
    settings = load(tmp_path, raw)
    assert settings.mlflow.tracking_uri == "http://mlflow_tracking_uri"
    assert settings.knowledge.store == "http://qdrant_url"
    assert settings.engine.url == "http://stepladder_engine_url"
    assert settings.flows.watch.gateway == "http://stepladder_gateway_url"
    assert settings.flows.watch.days == raw["flows"]["watch"]["days"]
    monkeypatch.setenv("QDRANT_URL", "")
    assert load(tmp_path, raw).knowledge.store == raw["knowledge"]["store"]


@pytest.mark.parametrize(
    ("section", "name", "hint"),
    [
        (None, "hardwear", " (did you mean `hardware`?)"),
        ("tuning", "learning_rat", " (did you mean `learning_rate`?)"),
        ("sample", "module_qa", " (did you mean `module-qa`?)"),
        ("tuning", "zzz", ""),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    *, tmp_path: Path, raw: dict[str, Any], section: str | None, name: str, hint: str
) -> None:
    (raw[section] if section else raw)[name] = 1
    with pytest.raises(StepladderError) as caught:
        load(tmp_path, raw)
    path = f"{section}.{name}" if section else name
    assert caught.value.what == f"{path}: Extra inputs are not permitted{hint}"
    assert caught.value.where.endswith("params.yaml")
    assert "docs/03-parameters.md" in caught.value.remedy


@pytest.mark.parametrize(
    ("section", "name", "value", "told"),
    [
        ("tuning", "rank", 0, "tuning.rank: Input should be greater than 0"),
        ("prepare", "near_duplicate", 1.5, "prepare.near_duplicate: Input should be less than or equal to 1"),
        ("climb", "mode", "fast", "climb.mode: Input should be 'auto' or 'full'"),
        ("sizes", "cpu", None, "sizes.cpu: Input should be a valid dictionary"),
        ("models", "base", None, "models.base: Input should be a valid string"),
    ],
)
def test_a_wrong_value_is_named(
    *, tmp_path: Path, raw: dict[str, Any], section: str, name: str, value: object, told: str
) -> None:
    raw[section][name] = value
    with pytest.raises(StepladderError) as caught:
        load(tmp_path, raw)
    assert caught.value.what.startswith(told)


@pytest.mark.parametrize("tasks", [[], ["a", "a"], ["../a"], ["a/b"], [""], [".."]])
def test_tasks_are_names_of_folders_each_once(tmp_path: Path, raw: dict[str, Any], tasks: list[str]) -> None:
    with pytest.raises(StepladderError, match="tasks: "):
        load(tmp_path, raw | {"tasks": tasks})


def test_no_case_at_all_is_refused(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["sizes"]["cpu"]["cases"] = 0
    with pytest.raises(StepladderError, match="greater than 0"):
        load(tmp_path, raw)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="file not found") as caught:
        load_settings(tmp_path / "params.yaml")
    assert caught.value.where == str(tmp_path / "params.yaml")
    assert "project's root" in caught.value.remedy


@pytest.mark.parametrize("content", ["", "- a\n", "just text", "3"])
@pytest.mark.parametrize("variable", ["QDRANT_URL", None])
def test_a_file_that_is_no_mapping_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, variable: str | None
) -> None:
    if variable:
        monkeypatch.setenv(variable, "http://x")
    with pytest.raises(StepladderError, match="row: Input should be a valid dictionary"):
        load(tmp_path, content)


def test_a_section_that_is_no_mapping_is_told_even_if_the_environment_overrides_it(
    tmp_path: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://x")
    with pytest.raises(StepladderError, match="mlflow: Input should be a valid dictionary"):
        load(tmp_path, raw | {"mlflow": "sqlite:///x.db"})


def test_what_is_not_yaml_or_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepladderError, match="not valid YAML"):
        load(tmp_path, "tasks: [a\n")
    (tmp_path / "params.yaml").write_bytes(b"tasks: [\xff]\n")
    with pytest.raises(StepladderError, match="not UTF-8"):
        load_settings(tmp_path / "params.yaml")


def test_a_task_may_be_tuned_in_its_own_way() -> None:
    tuning = Tuning(batch_size=4, by_task={"reviews": TuningOfTask(batch_size=2)})
    assert tuning.of("reviews") == Tuning(batch_size=2)
    assert tuning.of("questions") == Tuning(batch_size=4)


def names_of(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every parameter by its place, as params.yaml and the page name it; both columns of `sizes` are one."""
    for name, field in model.model_fields.items():
        place = f"{path}{field.alias or name}"
        inner = field.annotation
        if inner is SizesByHardware:
            yield from names_of(Sizes, f"{place}.")
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from names_of(inner, f"{place}.")
        else:
            yield place


def test_the_page_of_parameters_lists_every_one_and_no_other() -> None:
    listed, section = [], ""
    for line in (ROOT / "docs/03-parameters.md").read_text().splitlines():
        if line.startswith("## "):
            section = f"{line.removeprefix('## ')}."
        elif line.startswith("| `"):
            listed.append(section + line.split("`")[1])
    assert sorted(listed) == sorted(names_of(Settings))
