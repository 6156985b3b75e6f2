from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray

from credit_ray.serving.problems import MEDIA_TYPE

if TYPE_CHECKING:
    from tests.unit.serving.conftest import House


def refused(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of a refusal, which names nothing of our insides."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "instance"} <= problem.keys()
    assert "Traceback" not in answer.text
    assert "pid" not in answer.text
    return problem


def sse(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of server-sent events."""
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("event:")]
    lines = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [(line["event"], json.loads(line["data"])) for line in lines]


def test_a_forecast_is_accepted_made_and_read(house: House) -> None:
    answer = house.client.post("/v1/forecasts", json=house.ask())
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/v1/forecasts/{body['id']}" == body["links"]["self"]
    done = house.until(body["id"])
    assert (done["steps_done"], done["steps_total"], done["lead"]) == (4, 4, "1D")
    assert done["lineage"] == {
        "model": "models:/tiny/3",
        "model_version": "3",
        "model_digest": "digest-3",
        "data_digest": "data",
    }
    assert done["lineage"].items() <= xarray.open_zarr(house.table.data(body["id"])).attrs.items()
    assert done["error"] is None


def test_a_served_forecast_is_the_batch_forecast_bit_for_bit(house: House, tmp_path: Path) -> None:
    id = house.begin(lead="20steps")
    house.until(id)
    served = xarray.open_zarr(house.table.data(id), chunks=None)
    batch = xarray.open_zarr(house.batch_forecast(tmp_path / "batch.zarr", "2000-01-02T06:00", 20), chunks=None)
    assert float(abs(served["z"].diff("lead_time")).mean()) > 0
    xarray.testing.assert_identical(served.drop_attrs(deep=False), batch.drop_attrs(deep=False))


def test_only_what_is_asked_for_is_kept(house: House) -> None:
    id = house.begin(lead="3d", variables=["z", "tp"], levels=[850], every=4)
    assert house.until(id)["channels"] == ["z_850", "tp"]
    kept = xarray.open_zarr(house.table.data(id), chunks=None)
    assert set(kept.data_vars) == {"z", "tp"}
    assert kept["level"].values.tolist() == [850]
    assert (kept["lead_time"].values / np.timedelta64(1, "h")).tolist() == [24, 48, 72]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"init_time": "2000-01-02T07:00"}, "init_time", ["2000-01-02T06:00", "2000-01-02T12:00"]),
        ({"init_time": "1999-01-01"}, "init_time", ["2000-01-01T00:00"]),
        ({"init_time": "2200-01-01"}, "init_time", ["2000-04-09T18:00"]),
        ({"init_time": "yesterday"}, "init_time", ["2000-03-31"]),
        ({"init_time": 5}, "init_time", ["string"]),
        ({"init_time": None}, "init_time", ["missing"]),
        ({"lead": "7h"}, "lead", ["6h"]),
        ({"lead": "1mo"}, "lead", ["6h"]),
        ({"lead": "0steps"}, "lead", ["no step"]),
        ({"lead": "81steps"}, "lead", ["20D", "80 steps"]),
        ({"lead": "9" * 30 + "d"}, "lead", ["too long"]),
        ({"lead": "9" * 8000 + "steps"}, "lead", ["20D"]),
        ({"init_time": "2000-04-09T18:00", "lead": "80steps"}, "lead", ["forcings", "2000-04-24T18:00"]),
        ({"variables": ["z", "temprature"]}, "variables", ["temprature", "t2m"]),
        ({"variables": []}, "variables", ["at least 1"]),
        ({"variables": "z"}, "variables", ["list"]),
        ({"levels": [700]}, "levels", ["700", "500, 850"]),
        ({"levels": [float("nan")]}, "levels", ["500, 850"]),
        ({"variables": ["t2m"], "levels": [500]}, "levels", ["none"]),
        ({"every": 0}, "every", ["greater than or equal to 1"]),
        ({"every": 5}, "every", ["4 steps"]),
        ({"every": True}, "every", ["integer"]),
        ({"members": 5}, "members", ["members", "model"]),
        ({"levles": [500]}, "levles", ["levels"]),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_naming_the_field_and_what_it_may_be(
    shared: House, changes: dict[str, Any], field: str, words: list[str]
) -> None:
    body = json.dumps(shared.ask(**changes))  # as JSON has it, NaN included, which the client refuses to send
    answer = shared.client.post("/v1/forecasts", content=body, headers={"content-type": "application/json"})
    problem = refused(answer, 422)
    assert field in [error["field"] for error in problem["errors"]]
    for word in words:
        assert word in problem["detail"]
    assert shared.table.ids() == [shared.made]


def test_an_unknown_model_is_refused_with_those_that_there_are(shared: House) -> None:
    for answer in (
        shared.client.post("/v1/forecasts", json=shared.ask(model="tinny")),
        shared.client.get("/v1/models/tinny"),
    ):
        problem = refused(answer, 404)
        assert problem["models"] == ["tiny"]
        assert "Did you mean 'tiny'" in problem["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"model": ', b"{'model': 1}", b"[" * 900, b'{"every": ' + b"9" * 5000 + b"}", b"\xff\xfe{}"]
)
def test_a_body_that_is_no_json_is_malformed(shared: House, body: bytes) -> None:
    answer = shared.client.post("/v1/forecasts", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == (422 if body == b"" else 400)
    refused(answer, answer.status_code)


@pytest.mark.parametrize("body", [b"[]", b"5", b'"x"', b"null"])
def test_json_that_is_no_object_is_refused(shared: House, body: bytes) -> None:
    answer = shared.client.post("/v1/forecasts", content=body, headers={"content-type": "application/json"})
    assert "JSON object" in refused(answer, 422)["detail"]


def test_half_a_surrogate_pair_is_answered_too(shared: House) -> None:
    body = b'{"model": "\\ud800", "init_time": "\\ud800", "lead": "1d"}'
    answer = shared.client.post("/v1/forecasts", content=body, headers={"content-type": "application/json"})
    refused(answer, 404)


def test_a_body_that_is_too_large_is_refused_announced_or_not(slow_house: House) -> None:
    large = json.dumps(slow_house.ask(init_time="x" * 2000)).encode()
    assert refused(slow_house.client.post("/v1/forecasts", content=large), 413)["limit"] == 1000
    refused(slow_house.client.post("/v1/forecasts", content=iter([large[:600], large[600:]])), 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/forecasts", 404),
        ("GET", "/v1/forecasts/20000101T000000-0123456789abcdef", 404),
        ("GET", "/v1/forecasts/../../etc/passwd", 404),
        ("PUT", "/v1/forecasts", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/tiny/initial-times?limit=0", 422),
        ("GET", "/v1/models?token=alpha", 422),
        ("GET", "/v1/initial-states", 404),
        ("GET", "/", 404),
    ],
)
def test_every_refusal_is_a_problem_document(shared: House, method: str, path: str, status: int) -> None:
    answer = shared.client.request(method, path)
    refused(answer, status)
    assert (status == 405) == ("allow" in answer.headers)


def test_a_defect_of_ours_says_nothing_of_our_insides(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(house.service), "forecasts", lambda *_: 1 / 0)
    problem = refused(house.client.get("/v1/forecasts"), 500)
    assert "division" not in problem["detail"]
    assert "ZeroDivisionError" in caplog.text
    assert 'credit_ray_http_requests_total{status="500"} 1' in house.client.get("/metrics").text


def test_the_same_key_and_request_are_the_same_forecast(house: House) -> None:
    def post(key: str, **changes: Any) -> Any:
        return house.client.post("/v1/forecasts", json=house.ask(**changes), headers={"Idempotency-Key": key})

    first = post("a")
    again, other = post("a"), post("b")
    assert first.json()["id"] == again.json()["id"] != other.json()["id"]
    assert again.status_code == 202
    assert again.headers["location"] == first.headers["location"]
    assert first.json()["id"] in refused(post("a", lead="2d"), 409)["detail"]
    refused(post("x" * 256), 400)
    assert len(house.table.ids()) == 2


def test_a_key_is_remembered_by_the_next_service(house: House) -> None:
    headers = {"Idempotency-Key": "a"}
    first = house.client.post("/v1/forecasts", json=house.ask(), headers=headers).json()["id"]
    with house.next_service() as client:
        assert client.post("/v1/forecasts", json=house.ask(), headers=headers).json()["id"] == first
        assert [f["id"] for f in client.get("/v1/forecasts").json()["forecasts"]] == [first]


def test_forecasts_are_listed_newest_first(house: House) -> None:
    ids = [house.begin() for _ in range(3)]
    listed = house.client.get("/v1/forecasts").json()
    assert [f["id"] for f in listed["forecasts"]] == ids[::-1]
    assert [f["id"] for f in house.client.get("/v1/forecasts?limit=1").json()["forecasts"]] == ids[:-2:-1]
    assert listed["count"] == 3


def test_a_full_queue_refuses_and_loses_nothing(slow_house: House) -> None:
    running = slow_house.begin()
    slow_house.until(running, "running")
    waiting = [slow_house.begin(), slow_house.begin()]
    answer = slow_house.client.post("/v1/forecasts", json=slow_house.ask())
    assert refused(answer, 429)["queued"] == 2
    assert int(answer.headers["retry-after"]) > 0
    assert 'credit_ray_forecasts_queued{model="tiny"} 2' in slow_house.client.get("/metrics").text
    slow_house.let_go()
    for id in (running, *waiting):
        slow_house.until(id)
    slow_house.begin()


def test_events_tell_each_lead_time_and_then_the_end(slow_house: House) -> None:
    id = slow_house.begin(lead="1d")
    slow_house.let_go()
    live = sse(slow_house.client.get(f"/v1/forecasts/{id}/events").text)
    assert [name for name, _ in live] == ["step"] * 4 + ["done"]
    assert [data["step"] for _, data in live[:-1]] == [1, 2, 3, 4]
    assert live[1][1] == {"step": 2, "of": 4, "lead": "12h", "valid_time": "2000-01-02T18:00"}
    assert sse(slow_house.client.get(f"/v1/forecasts/{id}/events").text) == live
    rest = sse(slow_house.client.get(f"/v1/forecasts/{id}/events", headers={"Last-Event-ID": "3"}).text)
    assert rest == live[3:]


def test_a_silent_stream_has_a_heartbeat(slow_house: House) -> None:
    id = slow_house.begin()
    slow_house.cancel_soon(id)
    text = slow_house.client.get(f"/v1/forecasts/{id}/events").text
    assert text.startswith(": still here\n\n")
    assert sse(text)[-1][0] == "cancelled"


def test_a_stream_of_events_carries_the_leads_that_are_kept(house: House) -> None:
    id = house.begin(lead="2d", every=3)
    events = sse(house.client.get(f"/v1/forecasts/{id}/events").text)
    assert [data["step"] for name, data in events if name == "step"] == [3, 6]


def test_a_running_forecast_is_cancelled_and_an_ended_one_removed(slow_house: House) -> None:
    id = slow_house.begin(lead="10d")
    slow_house.until(id, "running")
    slow_house.let_go(2)
    slow_house.until(id, "running", steps=1)
    assert slow_house.client.delete(f"/v1/forecasts/{id}").status_code == 202
    slow_house.let_go(3)
    ended = slow_house.until(id, "cancelled")
    assert ended["steps_done"] < 10
    assert slow_house.client.delete(f"/v1/forecasts/{id}").status_code == 204
    refused(slow_house.client.get(f"/v1/forecasts/{id}"), 404)
    refused(slow_house.client.delete(f"/v1/forecasts/{id}"), 404)
    assert slow_house.table.ids() == []


def test_a_waiting_forecast_is_cancelled_at_once_and_never_begun(slow_house: House) -> None:
    first = slow_house.begin()
    slow_house.until(first, "running")
    second = slow_house.begin()
    assert slow_house.client.delete(f"/v1/forecasts/{second}").json()["state"] == "cancelled"
    slow_house.let_go()
    slow_house.until(first)
    assert slow_house.until(second, "cancelled")["started"] is None
    assert not slow_house.table.data(second).exists()


def test_every_object_of_the_store_is_served_as_it_lies_on_the_disk(shared: House) -> None:
    id = shared.made
    root = shared.table.data(id)
    names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    assert len(names) > 10
    for name in names:
        url = f"/v1/forecasts/{id}/data.zarr/{name}"
        answer, head = shared.client.get(url), shared.client.head(url)
        assert answer.content == (root / name).read_bytes()
        assert head.content == b""
        assert head.headers == answer.headers
        assert int(head.headers["content-length"]) == len(answer.content)
        assert "no-store" not in answer.headers["cache-control"]
        part = shared.client.get(url, headers={"Range": "bytes=-5"})
        assert (part.status_code, part.content) == (206, answer.content[-5:])
    refused(shared.client.get(url, headers={"Range": "bytes=99999999-"}), 416)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "z",
        "z/c/0/99/0/0/0",
        "../accepted.json",
        "..%2faccepted.json",
        "%2e%2e/accepted.json",
        "/etc/passwd",
        "a%00b",
        "x" * 999,
    ],
)
def test_what_is_no_object_of_the_store_is_absent(shared: House, path: str) -> None:
    id = shared.made
    answer = shared.client.get(f"/v1/forecasts/{id}/data.zarr/{path}")
    assert answer.status_code == 404


def test_a_store_that_grows_is_never_cached(slow_house: House) -> None:
    id = slow_house.begin(lead="1d")
    slow_house.let_go(2)
    slow_house.until(id, "running", steps=1)
    first, last = (f"/v1/forecasts/{id}/data.zarr/t2m/c/0/{lead}/0/0" for lead in (0, 3))
    assert slow_house.client.get(first).headers["cache-control"] == "no-store"
    answer = slow_house.client.get(last)
    refused(answer, 404)
    assert answer.headers["cache-control"] == "no-store"
    assert slow_house.client.get(f"/v1/forecasts/{id}/data.zarr/zarr.json").headers["cache-control"] == "no-store"
    slow_house.let_go()
    slow_house.until(id)
    assert slow_house.client.get(last).headers["cache-control"].startswith("private")


def test_a_field_comes_with_its_header_in_four_byte_words(shared: House) -> None:
    id = shared.made
    truth = xarray.open_zarr(shared.table.data(id), chunks=None)
    answer = shared.client.get(f"/v1/forecasts/{id}/fields/z", params={"lead": "12h", "level": 850})
    (length,) = struct.unpack("<I", answer.content[:4])
    header = json.loads(answer.content[4 : 4 + length])
    values = np.frombuffer(answer.content[4 + length :], "<f4").reshape(header["shape"])
    assert length % 4 == 0
    assert header["latitude"][0] > header["latitude"][-1]
    assert header["latitude"] == truth["latitude"].values.tolist()
    assert {k: header[k] for k in ("variable", "level", "units", "lead", "init_time", "valid_time")} == {
        "variable": "z",
        "level": 850,
        "units": "m2 s-2",
        "lead": "12h",
        "init_time": "2000-01-02T06:00",
        "valid_time": "2000-01-02T18:00",
    }
    np.testing.assert_array_equal(values, truth["z"].sel(level=850).isel(init_time=0, lead_time=1).values)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("image/png", "image/png"),
        ("image/avif,image/*,*/*;q=0.8", "image/png"),
        ("*/*", "application/octet-stream"),
        ("application/octet-stream, image/png;q=0.5", "application/octet-stream"),
        ("image/png;q=0, */*", "application/octet-stream"),
        ("image/png;q=much", "application/octet-stream"),
    ],
)
def test_a_field_is_a_picture_where_a_picture_is_asked_for(shared: House, accept: str, media: str) -> None:
    id = shared.made
    answer = shared.client.get(f"/v1/forecasts/{id}/fields/t2m?lead=6h", headers={"Accept": accept})
    assert answer.headers["content-type"] == media
    assert answer.content.startswith(b"\x89PNG") == (media == "image/png")


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("fields/q?lead=6h", "variable", ["'q'", "t2m"]),
        ("fields/z?lead=6h", "level", ["500, 850"]),
        ("fields/z?lead=6h&level=700", "level", ["700", "500, 850"]),
        ("fields/t2m?lead=6h&level=500", "level", ["no levels"]),
        ("fields/t2m?lead=9h", "lead", ["6h", "1D"]),
        ("fields/t2m?lead=2d", "lead", ["6h", "1D"]),
        ("fields/t2m", "lead", ["missing"]),
        ("fields/t2m?lead=6h&member=1", "member", ["member"]),
        ("point?latitude=91&longitude=0", "latitude", ["90"]),
        ("point?latitude=nan&longitude=0", "latitude", ["latitude"]),
        ("point?latitude=0&longitude=inf", "longitude", ["longitude"]),
        ("point?latitude=0", "longitude", ["missing"]),
    ],
)
def test_what_a_forecast_does_not_hold_is_refused_with_what_it_does(
    shared: House, path: str, field: str, words: list[str]
) -> None:
    id = shared.made
    problem = refused(shared.client.get(f"/v1/forecasts/{id}/{path}"), 422)
    assert [error["field"] for error in problem["errors"]] == [field]
    for word in words:
        assert word in problem["detail"]


def test_what_is_not_yet_written_says_when_to_come_again(slow_house: House) -> None:
    id = slow_house.begin()
    for path in ("fields/t2m?lead=1d", "point?latitude=0&longitude=0"):
        answer = slow_house.client.get(f"/v1/forecasts/{id}/{path}")
        refused(answer, 409)
        assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("latitude", "longitude", "column"), [(0.1, 0.0, 0), (89, 359, 0), (-90, -22.5, 15), (40, 350, 0), (40, 200, 9)]
)
def test_a_point_is_the_nearest_cell_round_the_circle(
    shared: House, latitude: float, longitude: float, column: int
) -> None:
    id = shared.made
    answer = shared.client.get(f"/v1/forecasts/{id}/point?latitude={latitude}&longitude={longitude}").json()
    truth = (
        xarray.open_zarr(shared.table.data(id), chunks=None)
        .isel(init_time=0, longitude=column)
        .sel(latitude=latitude, method="nearest")
    )
    assert answer["latitude"] == float(truth["latitude"])
    assert answer["longitude"] == float(truth["longitude"])
    assert answer["leads"] == ["6h", "12h", "18h", "1D"]
    assert answer["channels"]["z_850"]["values"] == truth["z"].sel(level=850).values.tolist()
    assert answer["channels"]["tp"]["units"] == "m"


def test_a_model_tells_what_it_is(shared: House) -> None:
    listed = shared.client.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["tiny"]
    model = shared.client.get(listed[0]["links"]["self"]).json()
    assert (model["version"], model["alias"], model["digest"], model["card"]) == ("3", "champion", "digest-3", "# tiny")
    assert model["variables"][0] == {"name": "z", "units": "m2 s-2", "levels": [500, 850]}
    assert model["lead_limit"] == {"steps": 80, "lead": "20D"}
    assert model["spec"]["step"] == "6h"
    assert model["initial_times"]["count"] == 380


def test_initial_times_are_runs_with_their_gaps_in_pages(house: House) -> None:
    url = "/v1/models/tiny/initial-times"
    whole = house.client.get(url).json()
    assert [(r["first"], r["last"], r["count"]) for r in whole["ranges"]] == [
        ("2000-01-01T00:00", "2000-01-25T18:00", 100),
        ("2000-01-31T00:00", "2000-04-09T18:00", 280),
    ]
    assert (whole["count"], whole["step"], whole["links"]) == (380, "6h", {})
    page = house.client.get(f"{url}?limit=1").json()
    following = house.client.get(page["links"]["next"]).json()
    assert page["ranges"] + following["ranges"] == whole["ranges"]
    for run in whole["ranges"]:
        assert house.client.post("/v1/forecasts", json=house.ask(init_time=run["last"], lead="6h")).status_code == 202


def test_liveness_and_readiness_are_told_apart(house: House) -> None:
    assert house.client.get("/healthz").status_code == 200
    assert house.client.get("/readyz").status_code == 200
    house.link.away = True
    assert house.client.get("/healthz").status_code == 200
    answer = house.client.get("/readyz")
    assert "tiny" in refused(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_model_that_was_never_reached_is_starting_and_one_that_was_still_accepts(house: House) -> None:
    house.link.away = True
    refused(house.client.post("/v1/forecasts", json=house.ask()), 503)
    house.link.away = False
    house.client.get("/v1/models")
    house.link.away = True
    house.until(house.begin())


def test_metrics_count_requests_steps_and_versions(house: House) -> None:
    house.until(house.begin())
    house.client.get("/v1/nothing")
    text = house.client.get("/metrics").text
    for line in (
        'credit_ray_http_requests_total{status="404"} 1',
        'credit_ray_model_steps_total{model="tiny"} 4',
        'credit_ray_forecasts_finished_total{model="tiny",state="done"} 1',
        'credit_ray_forecasts_running{model="tiny"} 0',
        'credit_ray_model_info{model="tiny",version="3",alias="champion",digest="digest-3"} 1',
    ):
        assert line in text.splitlines()
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0


def test_results_are_kept_as_long_as_the_limits_say(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    id, kept = house.begin(), house.begin()
    for each in (id, kept):
        house.until(each)
    house.table.write_progress(id, house.age(house.table.progress(id), hours=25))
    house.service.sweep()
    refused(house.client.get(f"/v1/forecasts/{id}"), 404)
    assert house.table.ids() == [kept]


def test_a_forecast_is_its_owners_alone(closed_house: House) -> None:
    alpha, beta = ({"Authorization": f"Bearer {token}"} for token in ("alpha", "beta"))
    client = closed_house.client
    id = client.post("/v1/forecasts", json=closed_house.ask(), headers=alpha).json()["id"]
    for path in ("", "/events", "/data.zarr/zarr.json", "/fields/t2m?lead=6h", "/point?latitude=0&longitude=0"):
        assert client.get(f"/v1/forecasts/{id}{path}", headers=beta).status_code == 404
    assert client.delete(f"/v1/forecasts/{id}", headers=beta).status_code == 404
    assert client.get("/v1/forecasts", headers=beta).json()["count"] == 0
    assert client.get(f"/v1/forecasts/{id}", headers=alpha).status_code == 200
    same_key = [
        client.post("/v1/forecasts", json=closed_house.ask(), headers=who | {"Idempotency-Key": "k"}).json()["id"]
        for who in (alpha, beta)
    ]
    assert len(set(same_key)) == 2


def test_without_a_token_only_health_is_told(closed_house: House) -> None:
    client = closed_house.client
    for path in ("/v1/models", "/v1/forecasts", "/metrics", "/v1/forecasts/x", "/v1/forecasts/x/data.zarr/zarr.json"):
        answer = client.get(path)
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    refused(client.post("/v1/forecasts", json=closed_house.ask()), 401)
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_no_token_lies_on_the_disk(closed_house: House) -> None:
    closed_house.client.post("/v1/forecasts", json=closed_house.ask(), headers={"Authorization": "Bearer alpha"})
    (record,) = closed_house.table.root.glob("*/accepted.json")
    assert "alpha" not in record.read_text()


def test_a_disk_that_takes_no_more_accepts_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(job: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.table, "add", full)
    answer = house.client.post("/v1/forecasts", json=house.ask())
    assert "No space" in refused(answer, 503)["detail"]
    assert "retry-after" in answer.headers
    assert house.client.get("/v1/forecasts").json()["count"] == 0


def test_the_routes_are_documented(shared: House) -> None:
    paths = shared.client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/forecasts",
        "/v1/forecasts/{id}/data.zarr/{path}",
        "/v1/models/{name}/initial-times",
        "/metrics",
    } <= paths.keys()
    assert shared.client.get("/docs").status_code == 200
