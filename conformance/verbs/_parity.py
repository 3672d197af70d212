"""How far the answers of a mended model are from those that it gave before."""

import tempfile
from pathlib import Path

from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Run
from conformance.contract.look import change, same
from conformance.mending.mend import Mended
from conformance.runtimes.process import ModelProcess
from conformance.subject import ticking
from conformance.submission.model import Model
from reference.errors import SubmissionError
from reference.process import ChildError, Limits

_MOST_PROBES = 4
# Of the range of an answer, or of the pixels of a mask: float16 that is not rounded to any more
# moves it by a thousandth.
_FAR = 0.01


def compare_mended(after: Assessment, part: str, own: Mended, folder: Path, limits: Limits) -> str:
    """In a line, by onnxruntime: both models see the first probes, the one of before in the layout
    and types that it took, and its answer is turned as the mended one's is.

    Raises SubmissionError where the mended model answers otherwise.
    """
    name = own.before.path.name
    evidence = after.evidence
    runs = [run for run in evidence.attempts(part=part) if not run.error][:_MOST_PROBES]
    if not runs:
        return "not compared: the mended model gives no answer"
    contract = runs[0].part
    apart, equal = 0.0, True
    tick = ticking(after.progress, f"comparing {name} with what it was")
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        ModelProcess(name, Path(scratch), tick, limits) as process,
    ):
        try:
            process.load(Model(part, "onnx", str(own.before.path)))
            for index, run in enumerate(runs):
                feeds = own.feeds(evidence.feeds(contract, run.probe))
                done = process.run(feeds, Path(scratch) / str(index))
                answer = own.answer(done.outputs)
                was = Run(contract, run.probe, (answer,), done.seconds)
                apart = max(apart, change(was, run))
                equal = equal and same(was.output, run.output)
        except (ChildError, SubmissionError) as error:
            return f"not compared: as it was it does not run: {error}"
    count = f"{len(runs)} probes in onnxruntime"
    if equal:
        return f"{count}: the same to the bit"
    if not apart <= _FAR:
        raise SubmissionError(
            f"{name} answers otherwise when it is mended, by {apart:.2g} of its range",
            "nothing is written: mend it by hand, as `lpcvc check` tells",
        )
    return f"{count}: at most {apart:.1g} of the range apart"
