"""The parity suite: one item a submission, part and pair of runtimes, made by the plugin."""

from typing import TYPE_CHECKING

import pytest

from conformance.parity.rows import explain_disagreement, measured, parity_row
from reference.errors import SubmissionError, ToolError

if TYPE_CHECKING:
    from conformance.parity.items import ParityCase


@pytest.mark.parity
def test_parity(parity_case: "ParityCase", record_property) -> None:
    from conformance.parity.comparison import NotCompared

    def record(status, seen: str, agreement=None) -> None:
        for name, value in parity_row(parity_case, status, seen, agreement).properties():
            record_property(name, value)

    try:
        agreement = parity_case.agreement()
    except NotCompared as reason:
        record("skip", str(reason))
        pytest.skip(str(reason))
    except ToolError:
        raise
    except SubmissionError as error:
        record("FAIL", error.problem)
        pytest.fail(f"{parity_case.label}: {error}", pytrace=False)
    figures = measured(parity_case.assessment.track, agreement.measures)
    seen = f"{figures} (1 probe, {agreement.probe.name!r})"
    located = f"; {agreement.located}" if agreement.located else ""
    record("FAIL" if agreement.broken else "pass", seen + located, agreement)
    cosine = getattr(agreement.measures, "cosine", None)
    if cosine is not None:
        record_property("lpcvc_cosine", f"{cosine:.7f}")
    if agreement.broken:
        pytest.fail(explain_disagreement(parity_case, agreement), pytrace=False)
