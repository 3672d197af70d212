"""How the pages put figures and names: text and bars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jinja2", reason="needs the hub extra")

from dataclasses import replace

from reference.aihub.pages.chart import chart_of
from reference.aihub.pages.render import breakable, micros, sentence
from reference.aihub.tasks import ComputeUnit, Layer
from reference.tests.hub_runner import PROFILE

_LAYERS = st.lists(
    st.builds(
        Layer,
        st.text(max_size=5),
        st.just("Conv"),
        st.sampled_from(ComputeUnit),
        st.none() | st.floats(0.001, 1e6),
        part=st.sampled_from(["", "matrix", "vector", "DMA"]),
    ),
    max_size=30,
)


@given(_LAYERS)
def test_a_chart_has_all_of_the_time(layers: list[Layer]) -> None:
    """The units share it, and no layer that is left out took more than one that is shown."""
    chart = chart_of(replace(PROFILE, layers=tuple(layers)))
    times = sorted((layer.microseconds for layer in layers if layer.microseconds), reverse=True)
    if not times:
        assert chart is None
        return
    assert chart is not None
    assert sum(bar.width for bar in chart.units) == pytest.approx(100)
    assert sum(bar.microseconds for bar in chart.units) == pytest.approx(sum(times))
    ends = [bar.start + bar.width for bar in chart.units]
    assert [bar.start for bar in chart.units] == pytest.approx([0.0, *ends[:-1]])
    assert [bar.microseconds for bar in chart.layers] == times[:12]
    assert chart.layers[0].width == pytest.approx(100)
    assert (chart.others, chart.rest) == (len(times[12:]), pytest.approx(sum(times[12:])))


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (None, "–"),  # noqa: RUF001
        (0.1973, "0.197 µs"),
        (999.4, "999 µs"),
        (999.6, "1 ms"),
        (20_800, "20.8 ms"),
        (999_600, "1.0 s"),
        (505_669_000, "8 min 25 s"),
    ],
)
def test_times(time: float | None, text: str) -> None:
    assert micros(time) == text


@pytest.mark.parametrize(
    ("name", "html"),
    [
        ("job_j1_dlc", "job_<wbr>j1_<wbr>dlc"),
        ("a.b@c.org", "a.<wbr>b@<wbr>c.<wbr>org"),
        ("/c/Conv", "/<wbr>c/<wbr>Conv"),
        ("1.25 at 12:30", "1.25 at 12:30"),
        ("<b>_&", "&lt;b&gt;_&amp;"),
    ],
)
def test_names_go_on_behind_their_signs(name: str, html: str) -> None:
    assert breakable(name) == html


def test_sentences() -> None:
    assert (sentence("not measured"), sentence("")) == ("Not measured.", "")
