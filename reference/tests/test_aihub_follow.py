"""The events that an open page gets of the hub."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests

from reference.aihub.local import LocalHub, local_hub
from reference.tests.hub_site import DLC, ME, OTHER, S24, sign_in


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(users=(ME, OTHER), runner="reference.tests.hub_runner:run", workers=4) as own:
        yield own


def submit(hub: LocalHub, folder: Path, text: str):
    path = folder / "model.onnx"
    path.write_text(text)
    return hub.client.submit_compile_job(str(path), S24, "mine", options=DLC)


def events(session: requests.Session, url: str) -> Iterator[str]:
    """The marks that the server sends, as they come."""
    with session.get(url, stream=True, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line:
                yield line.removeprefix("data: ")


def followed(page: str) -> tuple[str, str]:
    """Where a page gets its events from, and the mark of what it shows."""
    found = re.search(r'data-follow="([^"]*)" data-mark="([^"]*)"', page)
    assert found is not None
    return found[1].replace("&amp;", "&"), found[2]


def test_a_job_is_followed_to_its_end(hub: LocalHub, tmp_path: Path) -> None:
    me = sign_in(hub, ME)
    job = submit(hub, tmp_path, "compile sleep 3")
    url = f"{hub.url}/jobs/{job.job_id}/"
    page = me.get(url, timeout=30).text
    assert "load the page again to see" in page, "for whoever has no JavaScript"
    where, shown = followed(page)
    for mark in islice(events(sign_in(hub, ME), hub.url + where), 12):
        page = me.get(url, timeout=30).text
        if mark != shown and "Results ready" in page:
            break
    assert mark != shown
    assert "data-follow" not in page, "there is nothing more to come"


def test_a_list_is_followed_as_it_is_filtered(hub: LocalHub, tmp_path: Path) -> None:
    """A job of another kind changes nothing in it, and one that fits does."""
    me = sign_in(hub, ME)
    where, shown = followed(me.get(f"{hub.url}/jobs/?kind=compile&q=mine", timeout=30).text)
    assert where == "/jobs/events?kind=compile&q=mine"
    told = events(sign_in(hub, ME), hub.url + where)
    assert next(told) == shown
    job = submit(hub, tmp_path, "nothing special")
    assert next(told) != shown
    assert job.wait().success


def test_whoever_may_not_see_it_gets_no_events(hub: LocalHub, tmp_path: Path) -> None:
    job = submit(hub, tmp_path, "nothing special")
    url = f"{hub.url}/jobs/{job.job_id}/events"
    assert sign_in(hub, OTHER).get(url, timeout=30).status_code == 404
    assert requests.get(url, timeout=30).url.startswith(f"{hub.url}/login")


def test_events_end_with_the_session(hub: LocalHub, tmp_path: Path) -> None:
    me = sign_in(hub, ME)
    job = submit(hub, tmp_path, "compile sleep 20")
    url = f"{hub.url}/jobs/{job.job_id}/"
    csrf = me.get(url, timeout=30).text.split('name="csrf" value="')[1].split('"')[0]
    told = events(me, f"{url}events")
    next(told)
    requests.post(
        f"{hub.url}/logout", {"csrf": csrf}, cookies=me.cookies, timeout=30, allow_redirects=False
    )
    assert len(list(told)) <= 1
