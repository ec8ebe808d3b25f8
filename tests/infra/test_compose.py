"""What can be seen of the containers without an engine: names, ports, secrets, health, versions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

from stepladder.engine import _ADAPTERS
from stepladder.settings import load_settings
from stepladder.stages.workspace import Workspace
from tests.end_to_end.project import ROOT

FOLDER = ROOT / "infra/compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
GPU = yaml.safe_load((FOLDER / "compose.gpu.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILES = sorted((ROOT / "infra/images").glob("*.Dockerfile"))


def locked(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / "requirements/cpu.txt").read_text(), re.MULTILINE)
    assert found
    return found.group(1)


def test_the_stack_is_whole() -> None:
    names = {"postgres", "qdrant", "mlflow", "prefect-server", "worker-cpu", "worker-gpu", "vllm", "gateway"}
    names |= {"inbox"}
    assert set(SERVICES) == names
    assert set(GPU["services"]) <= names


def test_it_runs_what_the_stack_of_one_machine_runs() -> None:
    lines = parse_procfile((ROOT / "Procfile").read_text()).processes
    command = SERVICES["inbox"]["command"]
    assert command == f'sh -c "python -m flows.setup && exec {lines["inbox"].partition("keep inbox ")[2]}"'
    assert set(lines) - {"prefect"} <= set(SERVICES)
    # Prefect reads it in the folder where it starts.
    source, target, _ = SERVICES["prefect-server"]["volumes"][1].split(":")
    assert (FOLDER / source).resolve() == ROOT / "prefect.toml"
    assert f"WORKDIR {Path(target).parent}" in (ROOT / "infra/images/servers.Dockerfile").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened_pinned_and_its_health_is_known(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.search(r":(?!latest)[\w.-]+$", service["image"])
    # Our images ask HEALTH_URL.
    assert ("HEALTH_URL" in service["environment"]) == ("build" in service)
    assert "build" in service or "healthcheck" in service
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        assert how == {"condition": "service_healthy"}


def test_what_a_server_must_remember_lies_in_a_volume() -> None:
    """Prefect's leases lie in its home; the folder in the image is the server's own user's."""
    for name, folder in (("mlflow", "/artifacts"), ("prefect-server", "/prefect")):
        assert f"{folder.strip('/')}:{folder}" in SERVICES[name]["volumes"]
        installed = re.search(r"install -d -o servers -g servers (.*)", DOCKERFILES[0].read_text())
        assert installed
        assert folder in installed[1].split()
    assert SERVICES["prefect-server"]["environment"]["PREFECT_HOME"] == "/prefect"


def test_ports_are_published_on_the_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", ["stepladder.Dockerfile", "servers.Dockerfile"])
def test_every_image_that_is_built_has_its_dockerfile(name: str) -> None:
    built = [one["build"] for one in (*SERVICES.values(), *GPU["services"].values()) if "build" in one]
    assert {one["dockerfile"] for one in built} == {f"infra/images/{path.name}" for path in DOCKERFILES}
    assert {(FOLDER / one["context"]).resolve() for one in built} == {ROOT}
    assert (ROOT / "infra/images" / name).is_file()


def test_every_volume_that_is_named_is_declared() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in mounted if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert all((FOLDER / name).exists() for name in mounted if name.startswith(".") and "models" not in name)


def test_on_a_gpu_the_engine_takes_the_adapters_that_the_gateway_has_fetched() -> None:
    vllm, base = GPU["services"]["vllm"], SERVICES["vllm"]
    assert " ".join(_ADAPTERS) in vllm["command"]
    assert vllm["environment"] == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    settings = load_settings(ROOT / "params.yaml")
    assert settings.tuning.rank <= int(_ADAPTERS[-1])
    for part in base["command"].partition("--enforce-eager")[0].split():
        assert part in vllm["command"], "else it is started as without a GPU"
    (mounted,) = vllm["volumes"]
    releases = Workspace(Path("/project"), settings).releases
    assert SERVICES["gateway"]["working_dir"] == "/project", "its paths begin there"
    assert mounted["target"] == str(releases)
    assert (FOLDER / mounted["source"]).resolve() == ROOT / releases.relative_to("/project")
    assert mounted["read_only"]
    assert mounted["bind"] == {"create_host_path": False}


def test_secrets_come_from_a_file_that_git_ignores_and_have_no_default() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    example = dict(
        line.split("=", 1)
        for line in (FOLDER / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    used = set(re.findall(r"\$\{(\w+)", text + (FOLDER / "compose.gpu.yaml").read_text()))
    assert used == set(example)
    secret = {name for name in used if re.search("PASSWORD|KEY", name)}
    assert len(secret) == 2
    for name in secret:
        assert example[name] == ""
        assert set(re.findall(rf"\$\{{{name}[^}}]*\}}", text)) == {f"${{{name}:?}}"}
    ignored = subprocess.run(["git", "check-ignore", "-q", "infra/compose/.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


def test_servers_speak_the_minor_version_of_their_clients() -> None:
    image = SERVICES["qdrant"]["image"]
    assert image.partition(":v")[2].split(".")[:2] == locked("qdrant-client").split(".")[:2]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_built_in_stages_from_the_lock_and_runs_as_nobody_special(path: Any) -> None:
    text = path.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base) for base in bases)
    assert "requirements/" in text
    assert int(re.findall(r"^USER (\d+)$", text, re.MULTILINE)[-1]) >= 1000
    assert "HEALTHCHECK" in text
    assert f"uv=={_uv_of_the_makefile()}" in text


def _uv_of_the_makefile() -> str:
    found = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return found.group(1)


def test_the_context_holds_what_is_built_of_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert {"pyproject.toml", "README.md", "requirements", "stepladder", "serving"} <= let_in
    assert not let_in & {"models", "tasks", "var", ".git", "infra"}
