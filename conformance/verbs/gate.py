"""Hold a submission to all the rules of its track."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from conformance.command import suite_arguments
from conformance.settings import find_settings
from conformance.verbs import Answer, limited, on_hub
from reference.closest import closest
from reference.errors import SubmissionError
from reference.process import Limits

_NOTHING_RUN = 5


@click.command()
@click.argument("models", nargs=-1, metavar="[[PART=]MODEL]...")
@click.option("--track", multiple=True, metavar="TRACK", help="Whose rules; repeatable.")
@click.option("--npu", is_flag=True, help="Compile it, and ask the emulated NPU.")
@click.option("--parity", is_flag=True, help="Compare PyTorch, ONNX and the emulated NPU.")
@click.option("--layers", is_flag=True, help="--parity, with the error by layer in the report.")
@on_hub(None, "Run it on a device too, of AI Hub as qai-hub is configured or of a local one.")
@click.option(
    "--device",
    multiple=True,
    metavar="NAME",
    help="For this device, as AI Hub calls it: --npu, if nothing else asks for one; repeatable.",
)
@click.option(
    "--baseline", metavar="FILE", help="Compare with what `-m regression --save-baseline` kept."
)
@click.option("--weights", metavar="FILE", help="The checkpoint of the reference, or of a factory.")
@click.option("--rule", "rules", multiple=True, metavar="ID", help="Only this one; repeatable.")
@click.option("--strict", is_flag=True, help="Advice fails too.")
@click.option("--as-evaluated", is_flag=True, help="What the evaluator does not enforce warns.")
@click.option(
    "--report",
    multiple=True,
    metavar="DIR",
    help="Write report.html, .md and .json and badge.svg into DIR, or the file that it names.",
)
@click.option("--json", "as_json", is_flag=True, help="Print report.json; the rest is on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="List what passes too.")
@limited("loading the model or one forward pass")
def command(
    models: Sequence[str],
    track: Sequence[str],
    npu: bool,
    parity: bool,
    layers: bool,
    hub: str | None,
    device: Sequence[str],
    baseline: str | None,
    rules: Sequence[str],
    report: Sequence[str],
    as_json: bool,
    verbose: bool,
    limits: Limits,
    **others: str | bool | None,
) -> Answer:
    """Hold a submission to all the rules of its track, and run it for that. `lpcvc check` reads
    files alone.

    This is `pytest --pyargs conformance -m contract`, with its exit codes: 0 all kept, 1 a rule is
    broken, 4 what was given cannot be opened. A MODEL is what --submission takes; without any it is
    the reference of --track. What does not change can stand in lpcvc.toml, or in pyproject.toml
    under [tool.lpcvc]: track, submission, device, baseline, strict, report.
    """
    settings = find_settings(Path.cwd())
    if not (models or track or settings.track or settings.submission):
        raise SubmissionError(
            "nothing says what to hold to which rules",
            "lpcvc gate my.onnx --track depth; or --track alone for its reference",
        )
    parity = parity or layers
    elsewhere = npu or parity or hub
    suites = {
        "contract": True,
        "npu": npu or (device and not elsewhere),
        "parity": parity,
        "device": hub,
        "regression": baseline or settings.baseline,
    }
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch:
        document = Path(scratch, "report.json")
        arguments = suite_arguments(
            [name for name, asked in suites.items() if asked],
            submission=models,
            track=track,
            device=device,
            hub=hub,
            layers=layers,
            baseline=baseline,
            report=[*(report or settings.report), str(document)] if as_json else report,
            timeout="" if limits.timeout == Limits.timeout else f"{limits.timeout:g}",
            memory="" if limits.memory is None else f"{limits.memory / 2**30:g}",
            **others,
        )
        arguments += ["-k", " or ".join(f"::{rule}]" for rule in rules)] if rules else []
        code = _pytest([*arguments, *(["-v"] if verbose else [])], aside=as_json)
        if rules and code == _NOTHING_RUN:
            raise _unknown_rule(rules)
        if not document.exists():
            raise click.exceptions.Exit(code)
        return document.read_text(encoding="utf-8").rstrip(), code


def _pytest(arguments: Sequence[str], *, aside: bool) -> int:
    """The exit code of pytest in a process of its own, whose output goes to stderr if `aside`.

    Raises KeyboardInterrupt, when it has ended.
    """
    command = [sys.executable, "-P", "-m", "pytest", *arguments]
    interrupted = False
    with subprocess.Popen(command, stdout=sys.stderr if aside else None) as process:
        while process.returncode is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # it has its own, and writes its report
                interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode


def _unknown_rule(asked: Sequence[str]) -> SubmissionError:
    from conformance.rulebook import all_rules

    near = [name for rule in asked for name in closest(rule, all_rules(), 1)]
    return SubmissionError(
        f"no item is called {' or '.join(asked)} in these suites",
        f"did you mean {' or '.join(near)}? `lpcvc rules --track TRACK` lists those of a track",
    )
