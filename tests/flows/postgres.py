"""Debian's Postgres on a free port of the loopback, for as long as the block runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepladder.stack.postgres import program

ACCOUNT = "postgres" if os.geteuid() == 0 else None  # Postgres refuses to be root


@contextmanager
def postgres(*names: str) -> Iterator[str]:
    """Empty databases of these names, each at ``user@127.0.0.1:port/name``; what stands before the name."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # Not pytest's folder: only its own user may enter it.
    folder = Path(tempfile.mkdtemp(prefix="stepladder-postgres-"))
    if ACCOUNT:
        shutil.chown(folder, ACCOUNT, ACCOUNT)
    try:
        _run("initdb", "-D", str(folder), "-U", "tests", "--auth=trust", "--encoding=UTF8", "--no-locale")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        _run("pg_ctl", "start", "-w", "-D", str(folder), "-l", str(folder / "log"), "-o", options)
        for name in names:
            _create(port, name)
        yield f"tests@127.0.0.1:{port}"
    finally:
        _run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", str(folder), check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _run(name: str, *arguments: str, check: bool = True) -> None:
    quiet = subprocess.DEVNULL
    command = [str(program(name)), *arguments]
    subprocess.run(
        command, cwd="/", user=ACCOUNT, group=ACCOUNT, stdin=quiet, stdout=quiet, stderr=quiet, check=check
    )


def _create(port: int, name: str) -> None:
    import psycopg2

    connection = psycopg2.connect(host="127.0.0.1", port=port, user="tests", dbname="postgres")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
