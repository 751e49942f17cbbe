"""What the demo tier's door does otherwise than the others'."""

from __future__ import annotations

import httpx

from tests.e2e.tier import Tier


def test_the_page_offers_the_api_and_hides_the_metrics(demo: Tier) -> None:
    with demo.client() as client:
        assert "CosyHost" in client.get("/").text
        assert client.get("/docs").status_code == 200
        assert client.get("/metrics").status_code == 404
        assert client.get("/v1/models").json()["data"][0]["preview"] is True


def test_the_demo_has_no_button_until_there_is_a_login(demo: Tier) -> None:
    with demo.client() as client:
        answer = client.post("/v1/admin/restart")
    assert (answer.status_code, answer.json()["code"]) == (403, "restart_needs_login")


def test_too_many_requests_are_told_to_wait(demo: Tier) -> None:
    """Comes last: for some seconds whoever asked so much is refused whatever he asks."""
    limits = httpx.Limits(max_keepalive_connections=1)
    with httpx.Client(base_url=demo.url, limits=limits) as client:
        answers = [client.get("/v1/models") for _ in range(60)]
    late = [answer for answer in answers if answer.status_code == 429]
    assert late, "60 requests at once were all let through"
    assert late[0].json()["code"] == "too_many_requests"
    assert int(late[0].headers["Retry-After"]) > 0
