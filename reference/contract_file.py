"""The contract of a model as a TOML file: a track that needs no code (docs/extending.md)."""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reference.closest import closest
from reference.errors import SubmissionError, one_line
from reference.tracks import COLOURS, SHARED_PREFIXES, Part, Room, Shape, Tensor, Track

# What holds the output to what `values` says of it.
RULES = "conformance.rules.values"
# By kind of the output; those of any other are compared as numbers.
AGREEMENTS = {
    "binary": "reference.segmentation.agreement",
    "embedding": "reference.retrieval.agreement",
}
MASKS = "reference.segmentation.pictures"
NEIGHBOURS = "reference.retrieval.pictures"
_DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64")
_ANY = "any"
_WORDS = {float: "a number above 0", str: "a text", list: "a list", dict: "a table"}


def read_contract(path: Path, find: Callable[[str], Track]) -> Track:
    """The contract in a TOML file; `find` gives the track whose preparation it names.

    Raises SubmissionError, which says where, for what is no contract.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SubmissionError(
            f"{path}: {one_line(error.strerror or str(error))}",
            "name a contract as docs/extending.md has it",
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SubmissionError(
            f"{path.name} cannot be read as TOML: {one_line(str(error))}", "see docs/extending.md"
        ) from None
    return _Reader(path, find).track(document)


def contract_text(track: Track) -> str:
    """The contract of `track` as `read_contract` takes it; what it cannot say is in comments.

    It has the first of several dtypes, and is called after the track, which has its name already.
    """
    budget = [] if track.budget_ms is None else [f"budget_ms = {track.budget_ms!r}"]
    places = {"form": track.form, "leaderboard": track.leaderboard}
    lines = [
        *(
            f"# {what}"
            for what in (track.title, f"budget: {track.budget}", f"score: {track.metric}")
        ),
        *(f"# source: {source}" for source in track.sources),
        f"name = {_quoted(f'{track.id}-contract')}",
        f"title = {_quoted(track.title)}",
        f"device = {_quoted(track.device)}",
        f"compile_options = {_quoted(track.compile_options)}",
        *budget,
        f"pixels = {track.image_high!r}",
        *([f"prepare = {_quoted(track.id)}"] if track.has("inputs") else []),
        *(f"{key} = {_quoted(address)}" for key, address in places.items() if address),
    ]
    several = len(track.parts) > 1
    for part in track.parts:
        where = "parts." if several else ""
        lines += ["", "[[parts]]", f"name = {_quoted(part.name)}"] if several else []
        for tensor in part.inputs:
            lines += ["", f"[[{where}inputs]]", *_tensor_lines(tensor)]
        lines += ["", f"[{where}output]", *_tensor_lines(part.output)]
        if part.output.kind in ("binary", "embedding"):
            lines.append(f"values = {_quoted(part.output.kind)}")
        elif part.output.values:
            lines.append(f"values = {[*part.output.values]}")
    return "\n".join(lines) + "\n"


def _tensor_lines(tensor: Tensor) -> list[str]:
    named = [f"name = {_quoted(tensor.name)}"] if tensor.name else []
    shape = ", ".join(_quoted(_ANY) if size is None else str(size) for size in tensor.shape)
    dtype = f"dtype = {_quoted(tensor.dtypes[0])}"
    return [*named, f"shape = [{shape}]", dtype, f"meaning = {_quoted(tensor.meaning)}"]


def _quoted(text: str) -> str:
    """A TOML string: JSON's is one too."""
    return json.dumps(text)


class _Reader:
    def __init__(self, path: Path, find: Callable[[str], Track]) -> None:
        self._path = path
        self._find = find

    def track(self, given: Mapping[str, Any]) -> Track:
        table = _Table(self._path, "", given)
        name = table.take("name", str)
        letters = "".join(c for c in name.upper() if c.isascii() and c.isalnum())
        prefix = table.take("prefix", str, letters)
        if not prefix.isalnum() or not prefix.isupper() or prefix in SHARED_PREFIXES:
            raise table.wrong(
                f"prefix {prefix!r} cannot begin rules", "capital letters of your own"
            )
        prepare = table.take("prepare", str, "")
        like = self._like(table, prepare) if prepare else None
        budget = table.take("budget_ms", float, None)
        parts = self._parts(table)
        kinds = {part.output.kind for part in parts}
        kind = kinds.pop() if len(kinds) == 1 else ""
        agreement = AGREEMENTS.get(kind, "reference.agreement")
        rooms: list[tuple[Room, str]] = [("agreement", agreement)]
        if like is not None:
            rooms.append(("inputs", like.room("inputs").__name__))
            parts = tuple(self._prepared(table, like, part) for part in parts)
            if all(map(_covers, parts)):
                rooms.append(("pictures", MASKS))
            elif kind == "embedding":
                rooms.append(("pictures", NEIGHBOURS))
        track = Track(
            name=name,
            edition="",
            title=table.take("title", str, name),
            parts=parts,
            image_high=table.take("pixels", float, like.image_high if like else 1.0),
            device=table.take("device", str),
            compile_options=table.take("compile_options", str, ""),
            budget=f"{budget:g} ms" if budget else "none is stated",
            budget_ms=budget,
            metric="none",
            sources=(self._path.name,),
            prefix=prefix,
            rules=RULES,
            rooms=tuple(rooms),
            file=str(self._path.resolve()),
            form=table.take("form", str, ""),
            leaderboard=table.take("leaderboard", str, ""),
        )
        table.end()
        return track

    def _like(self, table: "_Table", name: str) -> Track:
        try:
            return self._find(name)
        except SubmissionError as error:
            problem = f"{self._path.name}: {table.where}prepare: {error.problem}"
            raise SubmissionError(problem, error.remedy) from None

    def _parts(self, table: "_Table") -> tuple[Part, ...]:
        several = table.take("parts", list, [])
        if not several:
            return (self._part("model", table),)
        parts = []
        for number, given in enumerate(several, 1):
            own = _Table(self._path, f"parts {number}: ", given)
            parts.append(self._part(own.take("name", str), own))
            own.end()
        if len({part.name for part in parts}) < len(parts):
            raise table.wrong("two parts have one name", "another name for each")
        return tuple(parts)

    def _part(self, name: str, table: "_Table") -> Part:
        inputs = [
            self._tensor(_Table(self._path, f"{table.where}inputs {number}: ", given))
            for number, given in enumerate(table.take("inputs", list), 1)
        ]
        names = {tensor.name for tensor in inputs}
        if not inputs or None in names or len(names) < len(inputs):
            raise table.wrong("inputs need a name each", "[[inputs]] with name, shape and dtype")
        output = _Table(self._path, f"{table.where}output: ", table.take("output", dict))
        return Part(name, tuple(inputs), self._tensor(output, output=True))

    def _tensor(self, table: "_Table", *, output: bool = False) -> Tensor:
        shape = tuple(
            None if output and size == _ANY else size for size in table.take("shape", list)
        )
        if not shape or any(
            size is not None and (type(size) is not int or size < 1) for size in shape
        ):
            raise table.wrong(
                f"shape {list(shape)} is none", "whole numbers, such as [1, 3, 224, 224]"
            )
        dtype = table.take("dtype", str, "float32")
        if dtype not in _DTYPES:
            raise table.wrong(f"no dtype {dtype!r}", f"one of {', '.join(_DTYPES)}")
        values: Any = table.take("values", object, "") if output else ""
        name = table.take("name", str, "") or None
        tensor = Tensor(name, shape, (dtype,), table.take("meaning", str, ""))
        table.end()
        if not output:
            coloured = _coloured(shape) and dtype.startswith("float")
            return replace(tensor, kind="picture" if coloured else "")
        if values in ("", "binary", "embedding"):
            meaning = tensor.meaning or str(values) or "numbers"
            return replace(tensor, meaning=meaning, kind=values)
        numbers = values if isinstance(values, list) else []
        if [type(x) in (int, float) for x in numbers] == [True, True] and numbers[0] < numbers[1]:
            low, high = map(float, numbers)
            meaning = tensor.meaning or f"numbers in [{low:g}, {high:g}]"
            return replace(tensor, meaning=meaning, values=(low, high))
        raise table.wrong(
            f"values {values!r} say nothing", '"binary", "embedding" or a range such as [0, 1]'
        )

    def _prepared(self, table: "_Table", like: Track, part: Part) -> Part:
        """The part with the inputs that `like` prepares known for what they are."""
        known = {t.shape: t for each in like.parts for t in (each.image, each.text) if t}
        for tensor in part.inputs:
            if tensor.kind and tensor.shape not in known:
                made = ", ".join(t.label for t in known.values())
                raise table.wrong(
                    f"{tensor.label} is not what {like.id} prepares ({made})",
                    "no prepare: the model is then looked at with noise",
                )
        return replace(
            part,
            inputs=tuple(
                replace(tensor, kind=known[tensor.shape].kind)
                if tensor.shape in known and tensor.dtypes[0] in known[tensor.shape].dtypes
                else tensor
                for tensor in part.inputs
            ),
        )


def _coloured(shape: Shape) -> bool:
    """Whether it can be an RGB picture, or a clip with its channels first or last."""
    return (len(shape) == 4 and shape[1] == COLOURS) or (
        len(shape) == 5 and COLOURS in (shape[1], shape[-1])
    )


def _covers(part: Part) -> bool:
    """Whether the answer is a mask of the picture's own size."""
    sizes = [t.shape[-2:] for t in (part.image, part.output) if t]
    return part.output.kind == "binary" and len(sizes) == 2 and sizes[0] == sizes[1]


class _Table:
    """A table of the file; what is taken is checked, and what is left at the end is a mistake."""

    def __init__(self, path: Path, where: str, given: object) -> None:
        self.where = where
        self._path = path
        if not isinstance(given, Mapping):
            raise self.wrong(f"{given!r} is no table", "name = value in it")
        self._given = dict(given)
        self._known: list[str] = []

    def take(self, key: str, kind: type[Any], default: Any = ...) -> Any:
        self._known.append(key)
        if key not in self._given:
            if default is ...:
                near = closest(key, self._given, 1)
                problem = f"nothing is called {near[0]!r}" if near else f"{key} is missing"
                raise self.wrong(problem, f"{key} = ...")
            return default
        value = self._given.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, float) and not value > 0):
            raise self.wrong(f"{key} is {value!r}", _WORDS.get(kind, kind.__name__))
        return value

    def end(self) -> None:
        for key in self._given:
            near = closest(key, self._known, 1)
            known = near[0] if near else ", ".join(self._known)
            raise self.wrong(f"nothing is called {key!r}", known)

    def wrong(self, problem: str, wanted: str) -> SubmissionError:
        return SubmissionError(
            f"{self._path.name}: {self.where}{problem}", f"write {wanted} (docs/extending.md)"
        )
