"""Makes `fixtures/operators.tsv`: `python -m conformance.selftest.make_operators`.

Every variant of `operator_models.py` is compiled for Snapdragon 8 Gen 3, many to a model. What the
compiler does is then put into few words: the traits that no variant has which compiles, and that
tell a refused one from its nearest neighbour. To be run again for another toolchain; half an hour.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto, helper

from conformance.selftest.operator_models import NODE, as_model, operators
from conformance.submission.graph import read_graph
from conformance.submission.operators import Traits
from conformance.submission.traits import View, traits
from reference.data import fixture
from reference.errors import SubmissionError
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import find_device
from reference.process import Limits

DEVICE = find_device("Samsung Galaxy S24")
TAKEN, REFUSED = "taken", "refused"
_TOGETHER = 80
_LIMITS = Limits(timeout=240.0)
_FLOATS = {"float32", "float16"}
# Names of nodes and what was tried and is not told: the rest of a reason is the compiler's.
_OWN = re.compile(r" in the node '\S+'|\. There is a mismatch.*|[.:]\w+ node `\S+` will not be.*")

_SAID = {
    "crashed": "the compiler crashes",
    "Failed to finalize": "the compiler fails to finalize the graph",
    "gave no answer": "the compiler never ends",
}


@dataclass(frozen=True)
class Variant:
    """One operator in one variant, as a model."""

    op: str
    traits: Traits
    model: ModelProto


@dataclass(frozen=True)
class Result:
    """Why the compiler refuses a variant; empty where it takes it whole."""

    variant: Variant
    reason: str


def all_variants(only: Iterable[str] = ()) -> list[Variant]:
    """Each variant once: what has the same traits is the same."""
    found: dict[tuple[str, Traits], Variant] = {}
    with TemporaryDirectory() as folder:
        path = Path(folder, "one.onnx")
        for operator in operators(only):
            model = as_model(operator)
            if model is not None:
                onnx.save(model, path)
                graph = read_graph(path, _LIMITS)
                node = next(node for node in graph.nodes if node.name == NODE)
                seen = frozenset((traits(View(graph), node) or {}).items())
                found.setdefault((node.op, seen), Variant(node.op, seen, model))
    return list(found.values())


def compile_all(variants: Sequence[Variant], folder: Path) -> list[Result]:
    """What the compiler makes of each variant, those of one opset in models of many."""
    by_opset: dict[int, list[Variant]] = defaultdict(list)
    for variant in variants:
        by_opset[variant.model.opset_import[0].version].append(variant)
    results = []
    for same in by_opset.values():
        same.sort(key=lambda variant: (_is_float(variant), variant.op))
        for start in range(0, len(same), _TOGETHER):
            results += _compile(same[start : start + _TOGETHER], folder)
    return results


def _is_float(variant: Variant) -> bool:
    return any(value in _FLOATS for _, value in variant.traits)


def _compile(variants: Sequence[Variant], folder: Path) -> list[Result]:
    """One model of all variants, and smaller ones of those that it tells nothing of."""
    told, blamed = _attempt(variants, folder)
    results = [Result(variants[place], reason) for place, reason in told.items()]
    rest = [place for place in range(len(variants)) if place not in told]
    for group in _groups(rest, blamed, halve=not told):
        results += _compile([variants[place] for place in group], folder)
    return results


def _groups(rest: list[int], blamed: set[int], halve: bool) -> list[list[int]]:
    if blamed and len(blamed) < len(rest):
        others = [place for place in rest if place not in blamed]
        return [*([place] for place in sorted(blamed)), others]
    middle = len(rest) // 2 if halve else 0
    return [group for group in (rest[:middle], rest[middle:]) if group]


def _attempt(variants: Sequence[Variant], folder: Path) -> tuple[dict[int, str], set[int]]:
    """Why each variant is refused, as far as one compilation tells, and whom its failure names."""
    path = folder / "many.onnx"
    onnx.save(_merge(variants), path)
    try:
        compiled = compile_model(path, DEVICE, limits=_LIMITS)
    except SubmissionError as error:
        alone = len(variants) == 1
        return ({0: error.problem} if alone else {}), _places([error.problem])
    cpu = {node.name: node.reason for node in compiled.placement.cpu}
    if len(variants) == 1:
        return {0: _alone(compiled, cpu)}, set()
    told = {place: cpu[f"n{place}"] for place in range(len(variants)) if f"n{place}" in cpu}
    if not compiled.failure:
        # What onnxruntime writes out as other operators runs under other names.
        hidden = any(not re.match(r"n\d+", name) for name in cpu)
        npu = _places(f"'{node.name}'" for node in compiled.placement.npu)
        taken = npu if hidden else range(len(variants))
        told.update((place, "") for place in taken if place not in told)
    return told, _places([compiled.failure]) - told.keys()


def _alone(compiled: Compiled, cpu: dict[str, str]) -> str:
    """Why a variant that is compiled alone is refused; the casts around it do not count."""
    own = {name: reason for name, reason in cpu.items() if not re.match(r"n0_", name)}
    if own or compiled.placement.npu or compiled.placement.cpu:
        return next(iter(own.values()), "")
    return "" if "nothing is left" in compiled.failure else compiled.failure


def _places(texts: Iterable[str]) -> set[int]:
    """The variants that are named: the first is n0."""
    return {int(n) for text in texts for n in re.findall(r"'n(\d+)(?:_token_\d+)?'", text)}


def _merge(variants: Sequence[Variant]) -> ModelProto:
    """All variants side by side; the operator of the first is called n0, its casts n0_x0."""
    merged = onnx.GraphProto(name="many")
    for place, variant in enumerate(variants):
        graph = onnx.GraphProto()
        graph.CopyFrom(variant.model.graph)
        own = f"n{place}"
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = f"{own}_{value.name}"
        for node in graph.node:
            node.name = own if node.name == NODE else f"{own}_{node.name}"
            node.input[:] = [name and f"{own}_{name}" for name in node.input]
            node.output[:] = [name and f"{own}_{name}" for name in node.output]
        merged.node.extend(graph.node)
        merged.input.extend(graph.input)
        merged.output.extend(graph.output)
        merged.value_info.extend(graph.value_info)
        merged.initializer.extend(graph.initializer)
    opsets = variants[0].model.opset_import
    return helper.make_model(merged, opset_imports=opsets, ir_version=10)


def rows(results: Iterable[Result]) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the table: operator, outcome, traits and reason."""
    by_op: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_op[result.variant.op].append(result)
    for op, measured in sorted(by_op.items()):
        taken = [result.variant.traits for result in measured if not result.reason]
        values: dict[str, set[str]] = defaultdict(set)
        for name, value in sorted(pair for each in taken for pair in each):
            values[name].add(value)
        if taken:
            yield op, TAKEN, " ".join(f"{k}={'|'.join(sorted(v))}" for k, v in values.items()), ""
        for least, reason in _refusals(measured, taken):
            yield op, REFUSED, " ".join(f"{k}={v}" for k, v in sorted(least)), reason


def _refusals(measured: Iterable[Result], taken: Sequence[Traits]) -> list[tuple[Traits, str]]:
    """The fewest traits that explain what is refused: no variant that is taken has all of them."""
    found: list[tuple[Traits, str]] = []
    candidates: dict[Traits, Counter[str]] = defaultdict(Counter)
    for result in measured:
        if result.reason:
            own = result.variant.traits
            apart = sorted((own - other for other in taken), key=lambda t: (len(t), sorted(t)))
            sets = [*apart, own] if taken else [frozenset[tuple[str, str]]()]
            least = next((t for t in sets if not any(t <= other for other in taken)), None)
            if least is not None:
                candidates[least][_plain(result.reason)] += 1
    for least in sorted(candidates, key=lambda each: (len(each), sorted(each))):
        if not any(known <= least for known, _ in found):
            found.append((least, candidates[least].most_common(1)[0][0]))
    return found


def _plain(reason: str) -> str:
    for words, told in _SAID.items():
        if words in reason:
            return told
    return " ".join(_OWN.sub("", reason).split()).rstrip(".")


def write(results: Iterable[Result], path: Path) -> None:
    """Writes the table."""
    lines = [("operator", "outcome", "traits", "reason"), *rows(results)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    with TemporaryDirectory() as folder:
        write(compile_all(all_variants(), Path(folder)), fixture("operators.tsv"))


if __name__ == "__main__":
    main()
