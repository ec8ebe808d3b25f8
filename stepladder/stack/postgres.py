"""A Postgres of the project's own: data in ``.stepladder/postgres``, on the loopback, with a password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from pathlib import Path

from stepladder.errors import StepladderError
from stepladder.stack.place import Place

USER = "stepladder"
_DATABASES = ("mlflow", "prefect")
_ACCOUNT = "postgres"  # of the system: who runs the server when root starts it, which Postgres refuses to be
_DEBIAN = Path("/usr/lib/postgresql")  # Debian keeps the server's programs off the path, a folder a version
_WAIT_S = 60


def obstacle(place: Place) -> str:
    """Why there can be no Postgres here; empty where there can be."""
    if not program("initdb"):
        return "Postgres is not installed"
    if os.geteuid() != 0:
        return ""
    if not _has_account():
        return f"Postgres does not run as root, and there is no user {_ACCOUNT!r}"
    _make_folder(place)
    if _run(["test", "-w", str(place.postgres)]).returncode:
        return f"Postgres does not run as root, and its user {_ACCOUNT!r} may not enter {place.postgres}"
    return ""


def start(place: Place, port: int) -> None:
    """Start the server, made first where it is new, and wait until it answers; both databases are there then.

    Raises:
        StepladderError: it could not be made or started.
    """
    _make_folder(place)
    if not _data(place).is_dir():
        _initialise(place)
    log = place.log("postgres")
    log.touch()
    _give(log)
    # No Unix socket: everything comes over the loopback, with a password.
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
    _must(
        ["pg_ctl", "start", "-w", "-t", str(_WAIT_S), "-D", str(_data(place)), "-l", str(log), "-o", options],
        log,
    )
    _create_databases(place, port)


def stop(place: Place) -> bool:
    """End the server; connections that are open are closed.

    Returns:
        Whether one ran.

    Raises:
        StepladderError: it does not end.
    """
    if not is_running(place):
        return False
    _must(
        ["pg_ctl", "stop", "-m", "fast", "-w", "-t", str(_WAIT_S), "-D", str(_data(place))],
        place.log("postgres"),
    )
    return True


def is_running(place: Place) -> bool:
    """Whether the project's server runs."""
    if not (_data(place).is_dir() and program("pg_ctl")):  # it may have been uninstalled since
        return False
    return _call(["pg_ctl", "status", "-D", str(_data(place))]).returncode == 0  # 3: it does not


def program(name: str) -> str | None:
    """The path of one of Postgres' programs, the newest version's; None where it is not installed."""
    newest_first = sorted(_DEBIAN.glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    folders = [*map(str, newest_first), os.environ.get("PATH", "")]
    return shutil.which(name, path=os.pathsep.join(folders))


def password(place: Place) -> str:
    """The password of the databases' user."""
    return _password_file(place).read_text(encoding="ascii").strip()


def _initialise(place: Place) -> None:
    secret = _password_file(place)
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_hex(24), encoding="ascii")
    _give(secret)
    draft = place.postgres / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)
    _must(
        [
            "initdb",
            *("-D", str(draft), "-U", USER, f"--pwfile={secret}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--no-locale", "--no-instructions"),
        ],
        place.postgres,
    )
    draft.rename(_data(place))


def _create_databases(place: Place, port: int) -> None:
    import psycopg2

    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user=USER, password=password(place), dbname="postgres"
    )
    connection.autocommit = True  # CREATE DATABASE stands in no transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            there = {str(row[0]) for row in cursor.fetchall()}
            for name in _DATABASES:
                if name not in there:
                    cursor.execute(f"CREATE DATABASE {name}")
    finally:
        connection.close()


def _data(place: Place) -> Path:
    return place.postgres / "data"


def _password_file(place: Place) -> Path:
    return place.postgres / "password"


def _make_folder(place: Place) -> None:
    place.postgres.mkdir(parents=True, exist_ok=True)
    _give(place.postgres)


def _give(path: Path) -> None:
    """Give a file to the user that the server runs as."""
    if account := _account():
        shutil.chown(path, account, account)


def _account() -> str | None:
    """Whom to become to run the server; None: nobody else."""
    return _ACCOUNT if os.geteuid() == 0 and _has_account() else None


def _has_account() -> bool:
    return any(entry.pw_name == _ACCOUNT for entry in pwd.getpwall())


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    path = program(command[0])
    assert path  # `obstacle` asked for it
    return _run([path, *command[1:]])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as the server's user, in a folder that this user may enter."""
    account = _account()
    return subprocess.run(
        command,
        cwd="/",
        user=account,
        group=account,
        extra_groups=[] if account else None,
        # The server lives on with what it inherits: a pipe would be waited for as long as it lives.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def _must(command: list[str], where: Path) -> None:
    done = _call(command)
    if done.returncode:
        raise StepladderError(
            f"`{command[0]} {command[1]}` failed: {done.stderr.strip()[-500:] or 'see its log'}",
            where=str(where),
            remedy="mend what it says, or run with STEPLADDER_DATABASE=sqlite, beside what Postgres holds",
        )
