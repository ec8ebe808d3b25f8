"""The webhook wakes the reconciler when MLflow signed it, now, for the first time; nothing else does."""

from __future__ import annotations

import time

import pytest

from serving.errors import ApiError
from serving.settings import Reconcile
from serving.wake import SECRET, Hook, sign
from tests.serving.house import House, answering, wait_until
from tests.serving.reconciling import shop_in

BODY = b'{"entity": "model_version_alias"}'


class Woken:
    def __init__(self) -> None:
        self.times = 0
        self.now = 1000.0
        self.hook = Hook("secret", self.count, lambda: self.now)

    def count(self) -> None:
        self.times += 1

    def deliver(self, number: str = "1", sent: str = "1000", secret: bytes = b"secret") -> None:
        headers = {
            "x-mlflow-delivery-id": number,
            "x-mlflow-timestamp": sent,
            "x-mlflow-signature": sign(secret, number, sent, BODY),
        }
        self.hook.take(headers, BODY)


def test_mlflow_signs_as_we_check() -> None:
    from mlflow.webhooks.delivery import _generate_hmac_signature

    ours = sign(b"secret", "id", "1000", BODY)
    assert ours == _generate_hmac_signature("secret", "id", "1000", BODY.decode())


def test_a_genuine_delivery_wakes_once() -> None:
    woken = Woken()
    woken.deliver()
    with pytest.raises(ApiError) as caught:
        woken.deliver()
    assert (woken.times, caught.value.status) == (1, 401)
    woken.deliver("2")
    assert woken.times == 2


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another secret", {"secret": b"other"}),
        ("an old delivery", {"sent": "600"}),
        ("one from the future", {"sent": "1400"}),
        ("no time", {"sent": ""}),
    ],
)
def test_what_is_refused(what: str, change: dict[str, str]) -> None:
    woken = Woken()
    with pytest.raises(ApiError):
        woken.deliver(**change)  # type: ignore[arg-type]
    assert woken.times == 0


def test_a_replay_is_refused_for_as_long_as_its_time_is_good() -> None:
    woken = Woken()
    woken.deliver(sent="1290")  # its clock is ahead of ours
    woken.now = 1580.0
    with pytest.raises(ApiError):
        woken.deliver(sent="1290")


def test_the_page_takes_a_signature_in_place_of_a_key(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = shop_in(house.folder, "1", house.router)
    with answering(house) as gate, gate.http(None) as client:
        assert client.post("/v1/hooks/mlflow", content=BODY).status_code == 404, "no secret, no page"
    monkeypatch.setenv(SECRET, "secret")
    with answering(house, reconciler=shop.reconciler) as gate, gate.http(None) as client:
        assert client.post("/v1/hooks/mlflow", content=BODY).status_code == 401


def test_a_genuine_delivery_makes_a_running_gateway_look_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, "secret")
    shop = shop_in(house.folder, "1", house.router)
    shop.reconciler._settings = Reconcile(every_s=3600)  # nothing but a delivery wakes it
    with answering(house, reconciler=shop.reconciler) as gate, gate.http(None) as client:
        wait_until(lambda: shop.registry.live("1") and not shop.reconciler._woken.is_set())
        shop.registry.promote("2")
        sent = str(int(time.time()))
        signed = {
            "x-mlflow-delivery-id": "1",
            "x-mlflow-timestamp": sent,
            "x-mlflow-signature": sign(b"secret", "1", sent, BODY),
        }
        assert client.post("/v1/hooks/mlflow", content=BODY, headers=signed).status_code == 204
        wait_until(lambda: shop.answers == "2")
        assert client.post("/v1/hooks/mlflow", content=BODY, headers=signed).status_code == 401, "a replay"
