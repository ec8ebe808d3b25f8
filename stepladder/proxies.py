"""HTTP proxies of the environment, which no request to this machine itself is to take."""

from __future__ import annotations

import os

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_HERE = ("127.0.0.1", "localhost", "::1")


def keep_this_machine_off_proxies() -> None:
    """Name this machine in ``NO_PROXY`` and ``no_proxy``, where the environment names a proxy.

    For whatever asks the engine, MLflow, Prefect or Qdrant here, child processes included: a proxy elsewhere
    cannot reach the loopback. What stands in the variables stays.
    """
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    for name, value in before.items():
        # One that was not set would hide the other from whoever reads it first.
        told = next((one for one in (value, *before.values()) if one is not None), "")
        hosts = [host.strip() for host in told.split(",") if host.strip()]
        if "*" in hosts:  # nothing is sent to a proxy as it is, and requests knows it only alone
            os.environ[name] = told
        else:
            os.environ[name] = ",".join([*hosts, *(host for host in _HERE if host not in hosts)])
