"""The gate from Python and in a notebook: a model in, verdicts as values out."""

import codecs
import contextlib
import copy
import html
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Union

from conformance.report.document import Report, Verdict
from conformance.report.summary import Told, summary
from conformance.report.terminal import Row
from conformance.report.writers import as_html, check_target, write_report
from conformance.settings import find_settings
from reference.closest import did_you_mean
from reference.errors import SubmissionError, ToolError

if TYPE_CHECKING:
    from torch import nn

    from reference.tracks import Part, Track

# A file, as `lpcvc gate` takes it, or a module of PyTorch.
Model = Union[str, "os.PathLike[str]", "nn.Module"]

_COLUMNS = (100, 24)  # where no terminal says
_FRAME_PIXELS = 640
_FAULT = 3
_LAST_SECONDS = 10.0
_QUIETLY = "-q --no-header --no-summary -o addopts= -p no:cacheprovider -p conformance.plugin"
_SAID = re.compile(r"^(?:lpcvc|ERROR): (?:ERROR: )?(.+)$", re.MULTILINE)
_ITEM = re.compile(r"::(?P<item>[^\]]+)\]'?$")


class GateError(AssertionError):
    """A submission does not pass; the message is what the terminal shows of its failures."""


@dataclass(frozen=True, repr=False)
class Result:
    """What came of a submission: the run's `report`, as values.

    Iterating gives a `Row` for each rule: `rule` (its id), `status` (pass, FAIL, warn or skip),
    `level`, `title`, `seen`, `expected`, `remedy`, `source`, `subject`.
    """

    report: Report

    @property
    def verdict(self) -> Verdict:
        """`passing`, `warnings`, `failing`, or `incomplete` where not all was checked."""
        return self.report.verdict

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rules that fail the gate."""
        return tuple(row for row in self if row.status == "FAIL")

    def __iter__(self) -> Iterator[Row]:
        return iter(self.report.rules)

    def __len__(self) -> int:
        return len(self.report.rules)

    def __getitem__(self, rule: str) -> Row:
        """The row of a rule, such as `DEP-7`; of several devices' the worst."""
        found = [row for own in self.report.subjects for row in own.worst_first if row.rule == rule]
        if not found:
            near = did_you_mean(rule, {row.rule for row in self})
            raise KeyError(f"nothing came of {rule!r}; {near}".rstrip("; "))
        return next((row for row in found if row.status == "FAIL"), found[0])

    def raise_for_failures(self) -> None:
        """Raises GateError where the submission fails, or not all of it was checked."""
        if self.verdict not in ("passing", "warnings"):
            raise GateError(self._told(failures=True))

    def save(self, target: "str | os.PathLike[str]") -> list[Path]:
        """Writes `target`: a file that ends in .html, .md, .json or .svg, or a folder for them all;
        what was written. Raises SubmissionError where that cannot be.
        """
        check_target(Path(target))
        return write_report(self.report, Path(target))

    def __repr__(self) -> str:
        return self._told(failures=False)

    def _repr_html_(self) -> str | None:
        """The report's page in a frame of its own; None without Jinja2, which makes it."""
        try:
            page = as_html(self.report)
        except ModuleNotFoundError:
            return None
        style = f"width:100%;height:{_FRAME_PIXELS}px;border:0"
        return (
            f'<iframe title="Report of the gate" sandbox="allow-popups" style="{style}"'
            f' srcdoc="{html.escape(page)}"></iframe>'
        )

    def _told(self, *, failures: bool) -> str:
        """As the terminal tells it, all or what fails alone."""
        report = self.report
        told = [
            Told(row, report.stories.get((row.subject, row.rule), ""))
            for row in (self.failures if failures else self)
        ]
        width = shutil.get_terminal_size(_COLUMNS).columns
        lines = [line for line, _ in summary(told, width, verbose=False)]
        lines += [f"{o.id}: {o.seen}" for o in report.others if o.status == "fail"]
        if report.ended or not told:
            lines.append(report.sentence)
        return "\n".join(lines).strip("\n")


def gate(
    model: Model | Mapping[str, Model] | None = None,
    track: str | None = None,
    *,
    rules: Sequence[str] = (),
    npu: bool = False,
    parity: bool = False,
    layers: bool = False,
    device: str | Sequence[str] = (),
    strict: bool = False,
    as_evaluated: bool = False,
    weights: "str | os.PathLike[str] | None" = None,
    timeout: float | None = None,
    memory: float | None = None,
) -> Result:
    """Holds `model` to the rules of `track`, as `lpcvc gate` does, in a process of its own.

    A model is a file in any form that the suite takes, or a `torch.nn.Module`, of which a copy is
    exported as by `lpcvc export` (for `parity` as TorchScript) into a folder that goes again; of a
    track of two models a mapping from part to model. None is the reference of the track. The
    options are those of `lpcvc gate`: `layers` is `parity` with the error by layer, `rules` are
    ids, `device` names, `timeout` seconds, `memory` GiB; what is not given is taken from
    `lpcvc.toml`. Progress is told on `sys.stderr`.

    Raises SubmissionError for what cannot be found, opened or exported.
    """
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as name:
        scratch = Path(name)
        specs, exported = _specs(model, track, scratch, "pt" if parity or layers else "onnx")
        handed = scratch / "report.pickle"
        options: dict[str, Sequence[object]] = {
            "track": [track] if track else [],
            "rule": rules,
            "device": [device] if isinstance(device, str) else device,
            "weights": [weights] if weights else [],
            "timeout": [] if timeout is None else [timeout],
            "memory": [] if memory is None else [memory],
        }
        switches = {
            "npu": npu,
            "parity": parity,
            "layers": layers,
            "strict": strict,
            "as-evaluated": as_evaluated,
        }
        words = [f"--{option}={each}" for option, values in options.items() for each in values]
        words += [f"--{switch}" for switch, on in switches.items() if on]
        code, printed = _run([*words, f"--report={handed}", "--", *specs])
        if not handed.exists():
            raise _refused(code, printed)
        report: Report = pickle.loads(handed.read_bytes())
    if exported:
        on = [f"{switch.replace('-', '_')}=True" for switch, on in switches.items() if on]
        report = _repeated(report, ", ".join(["model", f"track={track!r}", *on]))
    return Result(report)


def _specs(
    model: Model | Mapping[str, Model] | None, track: str | None, scratch: Path, form: str
) -> tuple[list[str], bool]:
    """The words of the command for the model, and whether a module was exported for them."""
    if model is None:
        return [], False
    if not isinstance(model, Mapping):
        return _spec(model, "", track, scratch, form)
    found = [_spec(own, part, track, scratch, form) for part, own in model.items()]
    return [spec for specs, _ in found for spec in specs], any(made for _, made in found)


def _spec(
    model: Model, part: str, track: str | None, scratch: Path, form: str
) -> tuple[list[str], bool]:
    head = f"{part}=" if part else ""
    if isinstance(model, str | os.PathLike):
        return [f"{head}{os.fspath(model)}"], False
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise SubmissionError(
            f"a {type(model).__name__} is no model", "give a path or a torch.nn.Module"
        )
    module: nn.Module = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    contract = _contract(track)
    known = [own.name for own in contract.parts]
    if part not in known and (part or len(known) > 1):
        takes = f"{contract.id} takes {len(known)} models"
        raise SubmissionError(
            f"no part is called {part!r}" if part else takes,
            f"give a mapping with {' and '.join(known)}",
        )
    path = scratch / (part or "model") / f"{type(module).__name__}.{form}"
    _export(module, contract.part(part or known[0]), path)
    return [f"{head}{path}"], True


def _contract(track: str | None) -> "Track":
    """Whose names and shapes a module is exported with."""
    from conformance.verbs import model_track

    named = [track] if track else list(find_settings(Path.cwd()).track)
    if len(named) != 1:
        raise SubmissionError("nothing says for which track the module is", 'add track="depth"')
    return model_track(named[0])


def _export(module: "nn.Module", part: "Part", path: Path) -> None:
    """Writes a copy of the module; the module itself stays where and as it is."""
    from reference.export import export_onnx, export_torchscript

    try:
        own = copy.deepcopy(module).cpu().eval()
    except RuntimeError as error:  # a tensor that hangs on a graph
        raise SubmissionError(
            f"the module cannot be copied: {error}", "keep tensors in it by register_buffer"
        ) from error
    path.parent.mkdir(exist_ok=True)
    (export_onnx if path.suffix == ".onnx" else export_torchscript)(own, part, path)


def _run(words: Sequence[str]) -> tuple[int, str]:
    """The exit code of `lpcvc gate` and what it printed, which appears on stderr as it comes.

    Of a pytest session around it and of other plugins it sees nothing, and it leaves nothing in the
    folder.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"PYTEST_ADDOPTS": _QUIETLY, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    printed = ""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "conformance.cli", "gate", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            for chunk in iter(partial(process.stdout.read1, 4096), b""):  # type: ignore[attr-defined]
                text = decoder.decode(chunk)
                printed += text
                print(text, end="", file=sys.stderr, flush=True)
        except BaseException:  # the kernel's stop button, as a rule
            _stop(process)
            raise
    return process.returncode, printed


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Ends the command as Ctrl-C does (POSIX), or by force with what it has started."""
    from reference.process import end_tree

    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_LAST_SECONDS)
            return
    end_tree(process)


def _refused(code: int, printed: str) -> SubmissionError:
    """What the command says in its one line."""
    said = _SAID.findall(printed)
    problem, _, remedy = (said[-1] if said else f"the run ended with code {code}").partition("; ")
    if code == _FAULT:
        return ToolError(problem)
    return SubmissionError(problem, remedy or "what it printed tells why")


def _repeated(report: Report, call: str) -> Report:
    """The report of a module, which no command can name: the call repeats it, as a whole or by
    rule.
    """
    stories = dict(report.stories)

    def again(row: Row) -> Row:
        found = _ITEM.search(row.again)
        item = found["item"] if found else row.rule
        own = replace(row, again=f"conformance.gate({call}, rules=[{item!r}])")
        key = row.subject, row.rule
        if row.again and key in stories:
            stories[key] = stories[key].replace(row.again, own.again)
        return own

    subjects = tuple(
        replace(subject, rules=tuple(map(again, subject.rules))) for subject in report.subjects
    )
    return replace(report, command=f"conformance.gate({call})", subjects=subjects, stories=stories)
