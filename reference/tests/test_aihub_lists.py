"""The lists of the hub: what is found, in which order, and how much there is."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests
from qai_hub import public_api_pb2 as pb

from reference.aihub.codec import encode
from reference.aihub.local import LocalHub, local_hub
from reference.aihub.pages.query import PER_PAGE, Query
from reference.aihub.records import Asked, DatasetRecord, JobRecord, JobState, ModelRecord
from reference.aihub.search import Search, orders
from reference.aihub.store import Store
from reference.aihub.tasks import ModelKind
from reference.tests.hub_site import ME, OTHER, sign_in

DEVICES = ("Samsung Galaxy S24", "Samsung Galaxy S2", "QCS9075 (Proxy)")


def job(number: int, **changes: object) -> JobRecord:
    """A job that is done, created at `number` seconds."""
    kind = str(changes.pop("kind", "compile"))
    asked = Asked(
        "inference" if kind == "profile" else kind,  # type: ignore[arg-type]
        "name",
        ("m0",),
        tuple(changes.pop("devices", DEVICES[:1])),  # type: ignore[arg-type]
        profile=kind == "profile",
    )
    record = JobRecord(
        f"j{number:04}", ME, asked, JobState.DONE, float(number), f"job {number}", started=0.0
    )
    return replace(record, finished=1.0, **changes)  # type: ignore[arg-type]


_WORDS = st.sampled_from(["Depth", "depth_b", "ÄRGER", "50%", "a_b", "aXb", "", "j0001", "é b"])
_JOBS = st.lists(
    st.builds(
        dict,
        kind=st.sampled_from(["compile", "profile", "inference", "quantize", "link"]),
        devices=st.lists(st.sampled_from(DEVICES), max_size=2, unique=True),
        state=st.sampled_from(list(JobState)),
        name=_WORDS,
        owner=st.sampled_from([ME, OTHER]),
        started=st.none() | st.floats(0, 9),
    ),
    max_size=12,
)
_SEARCHES = st.builds(
    Search,
    text=st.sampled_from(["", "depth", "ärger", "%", "_", "J0001", "galaxy s24", "other@", "b"]),
    kinds=st.lists(st.sampled_from(["profile", "inference", "link"]), max_size=2).map(tuple),
    states=st.lists(st.sampled_from([1, 10, 30, 70]), max_size=2).map(tuple),
    device=st.sampled_from(["", *DEVICES]),
    creator=st.sampled_from(["", OTHER]),
    order=st.sampled_from([*orders(JobRecord), "nonsense"]),
    down=st.booleans(),
)


def wanted(search: Search, record: JobRecord) -> bool:
    """What the search says, without a database."""
    said = [record.name or record.id, record.id, record.owner, *record.asked.devices]
    return (
        (not search.text or any(search.text.casefold() in word.casefold() for word in said))
        and (not search.kinds or record.listed_kind in search.kinds)
        and (not search.states or record.state in search.states)
        and (not search.device or search.device in record.asked.devices)
        and (not search.creator or record.owner == search.creator)
    )


def key(search: Search, record: JobRecord) -> tuple[bool, object]:
    """What a job is sorted by; nothing comes before something."""
    value: object = {
        "name": (record.name or record.id).casefold(),
        "id": record.id,
        "kind": record.listed_kind,
        "owner": record.owner.casefold(),
        "state": min(record.state, 50),
        "device": "\n".join(record.asked.devices).casefold(),
        "took": None if record.started is None else (record.finished or 0.0) - record.started,
    }.get(search.order, record.created)
    return value is not None, 0 if value is None else value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(_JOBS, _SEARCHES, st.integers(0, 12), st.integers(1, 12))
def test_what_is_found(
    tmp_path: Path, jobs: list[dict], search: Search, offset: int, limit: int
) -> None:
    """As a list comprehension and `sorted` do it, on each page, with the number of all."""
    place = tmp_path / "hub.sqlite"
    place.unlink(missing_ok=True)
    store = Store(place)
    records = [job(number, **changes) for number, changes in enumerate(jobs)]
    store.insert(*records)
    store.share("j0000", [ME], [])
    seen = [r for r in records if r.owner == ME or r.id == "j0000"]
    found = [record for record in reversed(seen) if wanted(search, record)]
    found.sort(key=lambda record: key(search, record), reverse=search.down)
    got = store.find(JobRecord, ME, search, limit=limit, offset=offset)
    assert got == found[offset : offset + limit]
    assert store.count(JobRecord, ME, search) == len(found)
    assert store.states(ME, search, limit=limit, offset=offset) == [
        (r.id, r.name, r.state) for r in got
    ]
    assert store.devices(ME) == sorted({d for r in seen for d in r.asked.devices})


@pytest.mark.parametrize("order", ["name", "id", "kind", "size", "created", "owner"])
def test_assets_are_sorted(tmp_path: Path, order: str) -> None:
    store = Store(tmp_path / "hub.sqlite")
    models = [
        ModelRecord("m1", ME, "beta", ModelKind.ONNX, False, 1.0, blob="a", size=30),
        ModelRecord("m2", ME, "", ModelKind.QNN_DLC, False, 2.0),
        ModelRecord("m3", ME, "Alpha", ModelKind.TFLITE, False, 3.0, blob="b", size=200),
    ]
    store.insert(*models, DatasetRecord("d1", ME, "data", 4.0, None, blob="c", size=5))
    expected = {
        "name": ["m3", "m1", "m2"],
        "id": ["m1", "m2", "m3"],
        "kind": ["m1", "m2", "m3"],
        "size": ["m2", "m1", "m3"],
        "created": ["m1", "m2", "m3"],
        "owner": ["m3", "m2", "m1"],
    }[order]
    found = store.find(ModelRecord, ME, Search(order=order, down=False), limit=9)
    assert [model.id for model in found] == expected
    assert [d.id for d in store.find(DatasetRecord, ME, Search(order=order), limit=9)] == ["d1"]


def test_a_database_of_an_earlier_version(tmp_path: Path) -> None:
    """Its rows had fewer columns; what they hold is listed as if they had all."""
    path = tmp_path / "hub.sqlite"
    done = job(1, kind="profile", name="older")
    with sqlite3.connect(path) as db:
        for table in ("models", "datasets"):
            db.execute(
                f"create table {table} (id text primary key, owner text, project text,"
                " created real, body text not null)"
            )
        db.execute("create table users (email text primary key, token text unique not null)")
        db.execute(
            "create table jobs (id text primary key, owner text, project text, created real,"
            " state integer, kind text, body text not null)"
        )
        values = (done.id, ME, "", done.created, 10, "inference", encode(done))
        db.execute("insert into jobs values (?, ?, ?, ?, ?, ?, ?)", values)
    store = Store(path)
    for search in (Search(kinds=("profile",)), Search(text="OLDER"), Search(device=DEVICES[0])):
        assert store.find(JobRecord, ME, search, limit=9) == [done]
    assert Store(path).count(JobRecord, ME, Search(kinds=("inference",))) == 0


@given(
    st.dictionaries(
        st.sampled_from(["kind", "q", "status", "device", "sort", "page"]),
        st.text(max_size=30) | st.sampled_from(["²", "9" * 30, "-1", "-", "-name", "profile", "٣"]),
    )
)
def test_any_address_is_a_query(asked: dict[str, str]) -> None:
    """It can be said again as an address, and means the same."""
    query = Query.read("/jobs/", asked, JobRecord)
    pairs = [pair.partition("=")[::2] for pair in query.words.split("&") if pair]
    again = {name: requests.utils.unquote(text.replace("+", " ")) for name, text in pairs}
    assert Query.read("/jobs/", again, JobRecord) == query
    assert query.search.order in orders(JobRecord)


class Site:
    """A hub of 150 finished jobs: 120 compile jobs that are newer than 30 of other kinds."""

    def __init__(self, hub: LocalHub) -> None:
        self.hub = hub
        self._session = sign_in(hub, ME)

    def get(self, path: str) -> requests.Response:
        return self._session.get(self.hub.url + path, timeout=30)

    def ids(self, path: str) -> list[str]:
        """The jobs of a page, in order."""
        return re.findall(r'class="name" href="/jobs/(j\d+)/"', self.get(path).text)

    def total(self, path: str) -> str:
        return re.search(r'<p class="total">(.*)</p>', self.get(path).text)[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state = tmp_path_factory.mktemp("state")
    store = Store(state / "hub.sqlite")
    store.insert(ModelRecord("m0", ME, "model", ModelKind.ONNX, False, 0.0, blob="a", size=1))
    kinds = ("profile", "inference", "link")
    others = [job(n, kind=kinds[n % 3], name=f"run {n}", devices=DEVICES[2:]) for n in range(30)]
    failed = [replace(each, state=JobState.FAILED, failure="why") for each in others[:3]]
    store.insert(*failed, *others[3:], *(job(30 + n) for n in range(120)))
    with local_hub(state, users=(ME, OTHER), runner="reference.tests.hub_runner:run") as hub:
        yield Site(hub)


def test_a_tab_shows_its_kind_however_many_others_are_newer(site: Site) -> None:
    """The issue of paging before filtering: fifty newer compile jobs hid every profile job."""
    for index, kind in enumerate(("profile", "inference", "link")):
        ids = site.ids(f"/jobs/?kind={kind}")
        assert ids == [f"j{n:04}" for n in range(29, -1, -1) if n % 3 == index]
        assert site.total(f"/jobs/?kind={kind}") == "10 jobs"
    assert "No quantize jobs yet" in site.get("/jobs/?kind=quantize").text


def test_pages_have_all_of_a_list(site: Site) -> None:
    pages = [site.ids(f"/jobs/?page={number}") for number in range(4)]
    assert [len(page) for page in pages] == [PER_PAGE, PER_PAGE, PER_PAGE, PER_PAGE]
    assert pages[3] == pages[2], "beyond the end is the end"
    assert [*pages[0], *pages[1], *pages[2]] == [f"j{n:04}" for n in range(149, -1, -1)]
    assert site.total("/jobs/?page=1") == "150 jobs, 51 to 100 shown"
    text = site.get("/jobs/?page=1&sort=name").text
    links = re.findall(r'<a href="([^"]*)">(First|Previous|Next|Last)</a>', text)
    assert links == [
        ("/jobs/?sort=name", "First"),
        ("/jobs/?sort=name", "Previous"),
        ("/jobs/?sort=name&amp;page=2", "Next"),
        ("/jobs/?sort=name&amp;page=2", "Last"),
    ]


def test_filters_and_words(site: Site) -> None:
    device = f"device={quote(DEVICES[2])}"
    assert len(site.ids(f"/jobs/?{device}")) == 30
    assert site.ids(f"/jobs/?{device}&status=failed") == ["j0002", "j0001", "j0000"]
    assert site.total(f"/jobs/?{device}&status=failed") == "3 of 150 jobs"
    assert site.total(f"/jobs/?{device}&status=failed&kind=profile") == "1 of 10 jobs"
    assert site.ids("/jobs/?q=RUN%2029") == ["j0029"]
    assert site.ids("/jobs/?q=j0007") == ["j0007"]
    nothing = site.get("/jobs/?q=nothing%20like%20it").text
    assert "None of the 150 jobs is like that" in nothing
    assert 'value="nothing like it"' in nothing


def test_sorting_is_over_all(site: Site) -> None:
    assert site.ids("/jobs/?sort=created")[:2] == ["j0000", "j0001"]
    by_name = sorted([f"run {n}" for n in range(30)] + [f"job {n}" for n in range(30, 150)])
    shown = re.findall(
        r'class="name" href="/jobs/j\d+/">([^<]*)<', site.get("/jobs/?sort=name").text
    )
    assert shown == by_name[:PER_PAGE]
    head = site.get("/jobs/?sort=name").text
    assert 'aria-sort="ascending"><a href="/jobs/?sort=-name">Name</a>' in head
    assert site.ids("/jobs/?sort=state&status=failed")[:1] == ["j0002"]


@pytest.mark.parametrize(
    "words", ["page=²", "page=" + "9" * 20, "kind=nonsense", "sort=--name", "q=%00%ff", "status=x"]
)
@pytest.mark.parametrize("path", ["/jobs/", "/models/", "/datasets/"])
def test_any_address_has_a_page(site: Site, path: str, words: str) -> None:
    assert site.get(f"{path}?{words}").status_code == 200


@pytest.mark.parametrize(
    ("version", "type", "count"),
    [
        ("0.56.0", "profile", 20),
        ("0.56.0", "inference", 20),
        ("0.55.0", "profile", 10),
        ("0.55.0", "inference", 10),
        ("0.56.0", "compile", 120),
        ("0.56.0", "", 150),
    ],
)
def test_the_total_of_the_api(site: Site, version: str, type: str, count: int) -> None:
    """Of all that there is; to clients before 0.56 profile jobs are a kind of their own."""
    headers = {"Authorization": f"token {site.hub.token}", "Client-Version": version}
    url = f"{site.hub.url}/api/v1/job_summaries/?limit=3&type={type}"
    listed = pb.JobSummaryList.FromString(requests.get(url, headers=headers, timeout=30).content)
    assert listed.total_query_count == count
    assert len(listed.job_summaries) == 3


def test_a_long_list_is_quick_to_make(tmp_path: Path) -> None:
    """No body is read but those that are shown: a broken one elsewhere does not matter."""
    store = Store(tmp_path / "hub.sqlite")
    store.insert(*(job(n) for n in range(200)))
    with sqlite3.connect(tmp_path / "hub.sqlite") as db:
        db.execute("update jobs set body = 'no json' where created < 100")
    assert store.count(JobRecord, ME, Search(text="job 1")) == 111
    assert len(store.find(JobRecord, ME, Search(), limit=PER_PAGE)) == PER_PAGE
