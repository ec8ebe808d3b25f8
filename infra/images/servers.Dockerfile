# syntax=docker/dockerfile:1
# MLflow's and Prefect's servers, in the versions that their clients are locked to. The context is the root.
#   docker build -f infra/images/servers.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
ENV VIRTUAL_ENV=/opt/venv UV_LINK_MODE=copy
COPY requirements requirements
# The lock file constrains: only what these need of it is installed.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv --no-python-downloads /opt/venv && \
    uv pip install --compile-bytecode --constraint requirements/cpu.txt mlflow prefect psycopg2-binary

FROM python:3.11.14-slim-bookworm
# The folders are this user's, and so is a new volume that is mounted over one.
RUN useradd --uid 10001 --create-home servers && install -d -o servers -g servers /artifacts /prefect
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false HEALTH_URL=http://127.0.0.1:5000/health
USER 10001
WORKDIR /home/servers
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]
