"""Compares the answers of one submission in PyTorch, ONNX, TFLite and on the emulated NPU."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Run
from conformance.contract.probes import PHOTOS, TEXTS, Probe, probes_for
from conformance.parity.flow import Flow
from conformance.parity.locate import (
    LAYERS,
    TENSORS,
    Growth,
    Jump,
    Runner,
    TensorError,
    locate,
    look_along,
)
from conformance.parity.runners import (
    Feeds,
    Workplace,
    emulate,
    npu_runner,
    onnx_runner,
    run_model,
    torch_modules,
    torch_runner,
)
from conformance.submission.feeding import feed, match_inputs
from conformance.submission.graph import Graph, elements, read_graph
from conformance.submission.model import Model
from conformance.submission.quantised import operators
from conformance.wing import NotCompared
from reference.agreement import Array, Precision, Tolerance, tolerances
from reference.data import fixture
from reference.errors import SubmissionError
from reference.npu.devices import Device
from reference.npu.toolchain import find_toolchain
from reference.process import ChildError, Limits
from reference.tracks import Part, Track

Runtime = Literal["torch", "onnx", "tflite", "npu"]
Pair = tuple[Runtime, Runtime]

PAIRS: tuple[Pair, ...] = (("torch", "onnx"), ("onnx", "npu"))
# Of a part that is TFLite; what it was made of may come with it.
TFLITE_PAIRS: tuple[Pair, ...] = (("torch", "tflite"), ("onnx", "tflite"), ("tflite", "npu"))

# The relative error of a tensor that the arithmetic itself makes: measured on reference models.
_FLOOR: dict[Precision, float] = {"float32": 1e-4, "float16": 1e-2, "w8a8": 1e-1}
_COMPARISONS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual"}


@dataclass(frozen=True)
class Agreement:
    """What came of one comparison: the measures, and the tolerances that they break.

    Where there are any, `located` says where that begins, and `operator` is the ONNX operator of
    that node, empty where no single one stands out, and `wrong` the tensor. `errors` are those of
    the tensors looked at, in the order in which they are computed, each under the `layers` name of
    its node.
    """

    precision: Precision
    probe: Probe
    measures: Any
    broken: tuple[Tolerance, ...]
    located: str = ""
    operator: str = ""
    wrong: str = ""
    errors: tuple[TensorError, ...] = ()
    layers: tuple[str, ...] = ()

    @property
    def floor(self) -> float:
        """The relative error of a tensor that the arithmetic itself makes."""
        return _FLOOR[self.precision]


class Comparison:
    """One submission in its runtimes, on one photograph or text a part, each run once.

    `device` is the one whose NPU is emulated. `folder` takes what is written; it must exist. With
    `layers` the NPU is looked into where it agrees, too, which takes one more pass of both sides.
    """

    def __init__(
        self,
        assessment: Assessment,
        device: Device,
        folder: Path,
        limits: Limits,
        *,
        layers: bool = False,
    ) -> None:
        self.assessment = assessment
        self.device = device
        self._place = Workplace(folder, limits, self._tick)
        self._layers = layers
        self._answers: dict[tuple[str, Runtime], Array] = {}
        self._step = ""
        # Of the pairs that were compared so far, by part and pair.
        self.agreements: dict[tuple[str, Pair], Agreement] = {}

    @property
    def label(self) -> str:
        """What the table calls it."""
        return f"{self.assessment.label}: parity, NPU of {self.device.name}"

    def agreement(self, part: Part, pair: Pair) -> Agreement:
        """How far the two sides of `pair` are apart, and where that begins if it is too far.

        Raises NotCompared where a side does not exist, and SubmissionError where one cannot be run
        or the shapes of the answers differ.
        """
        precision = self._precision(part, pair)
        try:
            one, other = (self._answer(part, runtime) for runtime in pair)
            room = self.assessment.track.room("agreement")
            measures = room.measure(one, other, _Inside(self, part))
        except ChildError as error:
            raise SubmissionError(
                f"{self._step} gives no answer: {error}",
                "see what the rules say of it: pytest --pyargs conformance -m contract",
            ) from None
        except (TypeError, ValueError) as error:
            raise SubmissionError(
                f"the answers in {pair[0]} and {pair[1]} cannot be compared: {error}",
                "see what the rules say of it: pytest --pyargs conformance -m contract",
            ) from None
        held = tolerances(self.assessment.track.room("agreement"), precision)
        broken = tuple(t for t in held if not t.allows(getattr(measures, t.measure)))
        found = Agreement(precision, self._probe(part), measures, broken)
        if broken or (self._layers and pair == ("onnx", "npu")):
            found = self._looked_into(found, part, pair)
        self.agreements[part.name, pair] = found
        return found

    def kept_run(self, part: str, runtime: Runtime) -> Run:
        """The answer of a part in one of its runtimes, which was compared before."""
        own = self.assessment.track.part(part)
        return Run(own, self._probe(own), (self._answers[part, runtime],), 0.0)

    def _precision(self, part: Part, pair: Pair) -> Precision:
        quantised = "tflite" in pair and operators(self._graph(part)).quantised
        if pair[1] != "npu":
            self._side(part, pair[0])
            return "w8a8" if quantised else "float32"
        try:
            find_toolchain()
        except SubmissionError as error:
            raise NotCompared(str(error)) from None
        found = operators(self._graph(part))
        if found.floating and not self.device.float16:
            raise NotCompared(
                f"the model computes in float and {self.device.name} has no float16; quantise it"
            )
        return "w8a8" if found.quantised else "float16"

    def _answer(self, part: Part, runtime: Runtime) -> Array:
        key = part.name, runtime
        if key not in self._answers:
            self._step = f"{self.assessment.track.id}: the {part.name} part in {runtime}"
            self._answers[key] = self._run(part, runtime)
        return self._answers[key]

    def _run(self, part: Part, runtime: Runtime) -> Array:
        feeds, graph = self._feeds(part), self._graph(part)
        if runtime == "npu":
            return emulate(graph.path, self.device, feeds, self._place)[graph.outputs[0].name]
        if graph.form == "tflite" and runtime != "tflite":
            feeds = self._source_feeds(part, runtime)
        return run_model(self._side(part, runtime), [feeds], self._place)[0]

    @cached_property
    def texts(self) -> Array | None:
        """Embeddings of texts in onnxruntime, None where no part takes a text alone."""
        track = self.assessment.track
        part = next((p for p in track.parts if p.text and not p.image), None)
        if part is None:
            return None
        probes = _texts(track, part)
        self._step = f"{track.id}: embedding {len(probes)} texts"
        feeds = (self.assessment.evidence.feeds(part, probe) for probe in probes)
        return np.concatenate(run_model(self._exported(part), feeds, self._place))

    def logits(self, part: Part) -> Array | None:
        """What the mask is cut from, with the threshold at 0, where the graph shows it."""
        if self._graph(part).form == "tflite":
            return None
        flow = Flow(self._graph(part).path)
        found = find_threshold(flow)
        if found is None:
            return None
        tensor, threshold = found
        logits = onnx_runner(flow, self._feeds(part), self._place)([tensor])[tensor]
        return np.asarray(logits - threshold)  # type: ignore[operator]

    def _looked_into(self, agreement: Agreement, part: Part, pair: Pair) -> Agreement:
        if "tflite" in pair:
            return replace(agreement, located="not located: TFLite shows no tensors inside")
        flow = Flow(self._graph(part).path)
        with tempfile.TemporaryDirectory(dir=self._place.folder) as scratch:
            place = replace(self._place, folder=Path(scratch))
            try:
                modules = self._modules(part, flow, place) if pair[0] == "torch" else {}
                if pair[0] == "torch" and not modules:
                    reason = "not located: only a module:factory shows what happens inside"
                    return replace(agreement, located=reason)
                one, other = (self._runner(part, side, flow, modules, place) for side in pair)
                if not agreement.broken:
                    errors = look_along(flow, one, other, partial(self._tell, part, "looking into"))
                    return replace(agreement, errors=errors, layers=_layers(flow, errors))
                found = locate(
                    flow,
                    one,
                    other,
                    floor=agreement.floor,
                    tensors=[tensor for tensor in flow.tensors if tensor in modules],
                    first=LAYERS if self._layers else TENSORS,
                    tell=partial(self._tell, part, "searching"),
                )
            except (ChildError, SubmissionError) as error:
                return replace(agreement, located=f"not located: {error}")
        return replace(
            agreement,
            located=describe(found, modules),
            operator=found.node.op if isinstance(found, Jump) else "",
            wrong=found.tensor if isinstance(found, Jump) else "",
            errors=found.errors,
            layers=_layers(flow, found.errors),
        )

    def _modules(self, part: Part, flow: Flow, place: Workplace) -> dict[str, str]:
        """The modules of the original by the tensor that each returns; the model itself is ""."""
        known = torch_modules(self._original(part), place)
        modules = {flow.output: "", **flow.modules()}
        return {tensor: name for tensor, name in modules.items() if name in known}

    def _runner(
        self, part: Part, runtime: Runtime, flow: Flow, modules: dict[str, str], place: Workplace
    ) -> Runner:
        feeds = self._feeds(part)
        match runtime:
            case "torch":
                return torch_runner(self._original(part), modules, feeds, place)
            case "onnx":
                return onnx_runner(flow, feeds, place)
            case "npu":
                return npu_runner(flow, self.device, feeds, place)
            case "tflite":
                raise SubmissionError("TFLite shows no tensors inside", "look into its source")

    def _side(self, part: Part, runtime: Runtime) -> Model:
        """The model that runs there; raises NotCompared where there is none."""
        if runtime == "torch":
            return self._original(part)
        own = self._exported(part)
        if own.format == runtime:
            return own
        source = self.assessment.evidence.submission.onnx(part.name)
        if source is None:
            raise NotCompared("no ONNX came with it: --submission my.tflite --submission my.onnx")
        return source

    def _source_feeds(self, part: Part, runtime: Runtime) -> Feeds:
        """The inputs of what a TFLite file was made of."""
        arrays = self._probe(part).feeds()
        if runtime == "torch":
            return arrays
        inputs = read_graph(self._side(part, runtime).path, self._place.limits).inputs
        matched = match_inputs(part, inputs, raw_pixels=self.assessment.track.image_high > 1)
        if matched is None:
            names = ", ".join(value.label for value in inputs)
            raise SubmissionError(
                f"the ONNX takes {names}, not what the track feeds", "give the TFLite's own source"
            )
        return feed(arrays, matched)

    def _original(self, part: Part) -> Model:
        model = self.assessment.evidence.submission.original(part.name)
        if model is None and self._graph(part).form == "tflite":
            raise NotCompared("no PyTorch came with it: --submission my.tflite --submission my.pt")
        if model is None:
            raise NotCompared(
                "an .onnx file has no PyTorch side; give TorchScript, .pt2 or module:factory"
            )
        return model

    def _exported(self, part: Part) -> Model:
        graph = self._graph(part)
        return Model(part.name, graph.form, str(graph.path))

    def _graph(self, part: Part) -> Graph:
        graph: Graph = self.assessment.evidence.graph(part)
        return graph

    def _probe(self, part: Part) -> Probe:
        return probes_for(self.assessment.track, part)[0]

    def _feeds(self, part: Part) -> Feeds:
        return self.assessment.evidence.feeds(part, self._probe(part))

    def _tell(self, part: Part, doing: str, text: str) -> None:
        self._step = f"{self.assessment.track.id}: {doing} the {part.name} part, {text}"

    def _tick(self, seconds: float) -> None:
        self.assessment.progress(f"{self._step} {seconds:.0f} s")


@dataclass(frozen=True)
class _Inside:
    """What a measure may ask of one part of a comparison."""

    comparison: Comparison
    part: Part

    def logits(self) -> Array | None:
        return self.comparison.logits(self.part)

    def gallery(self) -> Array | None:
        return self.comparison.texts


def _layers(flow: Flow, errors: Sequence[TensorError]) -> tuple[str, ...]:
    nodes = (flow.producer(tensor) for tensor, _ in errors)
    return tuple(f"{node.op} {node.name or node.outputs[0]}" if node else "" for node in nodes)


def describe(found: Jump | Growth, modules: dict[str, str]) -> str:
    """Where two runtimes part, in a line; `modules` of PyTorch by tensor."""
    counted = f"{found.rounds} run{'s' if found.rounds > 1 else ''} of both"
    if isinstance(found, Growth):
        return (
            f"no node stands out: the error grows evenly, to {found.after:.2g} standard deviations"
            f" ({counted})"
        )
    name = modules.get(found.tensor)
    module = "" if name is None else f" of module {name}" if name else " outside its modules"
    return (
        f"first at {found.node.label}{module}, tensor {found.tensor!r}: error {found.after:.2g}"
        f" standard deviations, before it {found.before:.2g};"
        f" {found.seen[0]} became {found.seen[1]} ({counted})"
    )


def _texts(track: Track, part: Part) -> list[Probe]:
    """Every text that the suite knows, as a probe of the text part."""
    recorded = json.loads(Path(fixture("clip/goldens.json")).read_text(encoding="utf-8"))
    texts = dict.fromkeys([*TEXTS, *(text for _, text in PHOTOS.values()), *recorded])
    prepare = track.room("inputs").prepare_text
    name = str(part.inputs[0].name)

    def feeds(text: str) -> Callable[[], Feeds]:
        return lambda: {name: prepare(text)}

    return [Probe(repr(text), "text", feeds(text)) for text in texts]


def find_threshold(flow: Flow) -> tuple[str, float] | None:
    """The tensor that a mask is cut from and the threshold: the last comparison of its size.

    None where the graph has none.
    """
    graph = flow.graph
    size = elements(graph.outputs[0])
    pending = [flow.output]
    for tensor in pending:
        node = flow.producer(tensor)
        if node is None:
            continue
        if node.op in _COMPARISONS:
            value, threshold = node.inputs
            if (
                len(graph.constants.get(threshold, ())) == 1
                and elements(graph.value(value)) == size
            ):
                return value, graph.constants[threshold][0]
        pending += [name for name in node.inputs if name not in pending]
    return None
