"""Rules of the package for Genie alone: what `inference_script.py` and the device take of it."""

import re
from fnmatch import fnmatchcase
from math import prod
from pathlib import PurePosixPath
from typing import Any

from conformance.rulebook import Level, Verdict, failed, passed, skipped, together
from conformance.rules.packed import package_rule, with_binaries, with_inputs
from reference.aigc import inputs as picture
from reference.aigc.package import (
    BINARY,
    CONTEXT_FOLDER,
    COS,
    EMBEDDING,
    INPUTS,
    MASKS,
    SIN,
    TOKENIZER,
    VISION,
    VISION_FOLDER,
    Binaries,
    Inputs,
    Package,
    read_object,
)
from reference.errors import SubmissionError
from reference.npu.devices import all_devices, find_device
from reference.tracks import format_shape

_README = "26LPCVC_Track3_Sample_Solution, README section 2"
_UPLOAD = "26LPCVC_Track3_Sample_Solution, README section 3"
_SCRIPT = "26LPCVC_Track3_Sample_Solution, inference_script.py"
_FLOAT_BYTES = 4
_OUTPUT = "vision_embedding"
_FOLDER = re.compile(r"ar(\d+)-ar(\d+)-cl(\d+)")


@package_rule("AIG-1", Level.DOCUMENTED, remedy="zip the team's folder itself", source=_UPLOAD)
def one_folder_of_the_zips_name(e: Package) -> Verdict:
    """The zip holds one folder, the team's, and both have one name."""
    team = PurePosixPath(e.name).stem
    if e.place is None:
        return passed("a folder")
    if e.place != team:
        where = "beside each other" if e.place == "." else f"in {e.place}/"
        return failed(f"the files in {team}/", f"they stand {where}")
    return passed(f"{team}/")


@package_rule("AIG-2", Level.REQUIRED, remedy="put it where the README has it", source=_SCRIPT)
def every_file_is_there(e: Package) -> Verdict:
    """Every file is there that the script looks for: both kinds of context binaries, embedding,
    mask and position ids, `inputs.json` and `tokenizer.json`.
    """
    wanted = {
        f"{CONTEXT_FOLDER}/{BINARY}": e.language,
        VISION: VISION in e.files,
        EMBEDDING: e.matching(EMBEDDING),
        "mask.raw": e.masks,
        **{name: name in e.files for name in (COS, SIN, INPUTS, TOKENIZER)},
    }
    missing = [name for name, found in wanted.items() if not found]
    if missing:
        near = [n for n in e.files if PurePosixPath(n).name in map(_last, missing)]
        seen = f"{', '.join(missing)} missing"
        return failed("all of it", f"{seen}; {', '.join(near)} is elsewhere" if near else seen)
    return passed(f"{len(e.files)} files, {sum(e.files.values()) / 1e6:.4g} MB")


def _last(name: str) -> str:
    return PurePosixPath(name).name


@package_rule(
    "AIG-3", Level.REQUIRED, remedy="keep the one that is meant", source=f"{_SCRIPT}: RuntimeError"
)
def one_context_folder(e: Package) -> Verdict:
    """There is one folder `ar*-ar*-cl*` at most: at a second one the script stops."""
    if len(e.contexts) > 1:
        return failed("one", f"{len(e.contexts)}: {', '.join(e.contexts)}")
    return passed(e.contexts[0] if e.contexts else "none")


@package_rule(
    "AIG-4",
    Level.REQUIRED,
    remedy="Qwen2-VL has mask.raw alone, Qwen2.5-VL the full and the window mask",
    source=f"{_README}, note; {_SCRIPT} feeds every *mask.raw",
)
def masks_of_one_family(e: Package) -> Verdict:
    """The masks are those of Qwen2-VL or of Qwen2.5-VL, and no others.

    The script gives the vision encoder every file that matches `*mask.raw`, in whatever order the
    file system has them.
    """
    if e.masks and tuple(sorted(e.masks)) not in MASKS:
        return failed(" or ".join(" and ".join(names) for names in MASKS), ", ".join(e.masks))
    return passed(", ".join(e.masks) or "none")


@package_rule(
    "AIG-5", Level.REQUIRED, remedy="see the README, Creating inputs.json", source=_README
)
def inputs_say_everything(e: Package) -> Verdict:
    """`inputs.json` has every key that the script reads, each of its type."""
    if INPUTS not in e.files:
        return skipped(f"{INPUTS} is missing, see AIG-2")
    try:
        i = e.inputs
    except SubmissionError as error:
        return failed("the keys of the README", error.problem, remedy=error.remedy)
    return passed(f"{i.llm}, {i.height}x{i.width}, {i.tokens} tokens, context {i.context}")


@package_rule(
    "AIG-6",
    Level.REQUIRED,
    remedy="write it again with array.astype('float32').tofile(...)",
    source=f"{_SCRIPT}: fromfile(float32).reshape(n-vocab, size)",
)
@with_inputs
def embedding_is_whole(e: Package, inputs: Inputs) -> Verdict:
    """There is one `embedding_weights*.raw`, float32, vocabulary x width of `genie_config`."""
    found = e.matching(EMBEDDING)
    if len(found) != 1:
        seen = ", ".join(found)
        return failed("one", seen, remedy="keep one") if found else skipped("missing, see AIG-2")
    size, shape = e.files[found[0]], (inputs.vocabulary, inputs.embedding)
    whole = prod(shape) * _FLOAT_BYTES
    if size != whole:
        remedy = ""
        if size * 2 == whole:
            remedy = "it has the size of float16: write it with array.astype('float32').tofile(...)"
        elif size % (inputs.embedding * _FLOAT_BYTES) == 0:
            rows = size // (inputs.embedding * _FLOAT_BYTES)
            remedy = f"it has {rows} rows: write that as n-vocab, or the whole embedding"
        expected = f"{whole} bytes, float32 {format_shape(shape)}"
        return failed(expected, f"{size} bytes", found[0], remedy)
    return passed(f"float32 {format_shape(shape)}, {size} bytes")


@package_rule(
    "AIG-7",
    Level.REQUIRED,
    remedy="take both from the language model that was exported",
    source=f"{_SCRIPT}: masked_scatter",
)
@with_inputs
def widths_agree(e: Package, inputs: Inputs) -> Verdict:
    """A token of a picture is as wide as one of text, and both are float32.

    `masked_scatter` fills the places of the picture number by number: with another width the
    numbers of one token go to the next, and nothing is said.
    """
    odd = []
    if inputs.dim != inputs.embedding:
        odd.append(failed(f"run_veg_embedding_dim {inputs.embedding}", str(inputs.dim)))
    if inputs.dtype != "float32":
        odd.append(failed("embedding datatype float32", inputs.dtype))
    return together(odd) or passed(f"{inputs.dim}, {inputs.dtype}")


@package_rule(
    "AIG-8",
    Level.REQUIRED,
    remedy="change run_veg_n_tokens and the size of the picture together",
    source="qwen_vl_utils smart_resize and transformers' Qwen2VLImageProcessor: sides are rounded"
    " to 28 pixels, one token each 28x28",
)
@with_inputs
def tokens_of_the_picture(e: Package, inputs: Inputs) -> Verdict:
    """`run_veg_n_tokens` is how many tokens a picture of that height and width takes."""
    wanted = picture.tokens(inputs.height, inputs.width)
    sides = "x".join(map(str, picture.rounded(inputs.height, inputs.width)))
    if inputs.tokens != wanted:
        size = f"{inputs.height}x{inputs.width}"
        return failed(f"{wanted}: {size} becomes {sides}", str(inputs.tokens))
    return passed(f"{inputs.tokens} of {sides}")


@package_rule("AIG-9", Level.REQUIRED, remedy="copy it again, or write float32", source=_SCRIPT)
@with_inputs
def vision_inputs_are_whole(e: Package, inputs: Inputs) -> Verdict:
    """Position ids and masks hold float32 numbers for each patch, as many cosines as sines.

    A token is of 2x2 patches. How many numbers the encoder takes is in its context binary (AIG-16).
    """
    row = picture.MERGE**2 * inputs.tokens * _FLOAT_BYTES
    names = [name for name in (COS, SIN, *e.masks) if name in e.files]
    if not names:
        return skipped("missing, see AIG-2")
    odd = [
        failed(f"a multiple of {row} bytes", f"{e.files[name]} bytes", name)
        for name in names
        if e.files[name] % row or not e.files[name]
    ]
    if not odd and COS in names and SIN in names and e.files[COS] != e.files[SIN]:
        odd = [failed(f"as many bytes as {SIN}, {e.files[SIN]}", f"{e.files[COS]} bytes", COS)]
    return together(odd) or passed(", ".join(f"{name} {e.files[name]}" for name in names))


@package_rule(
    "AIG-10", Level.REQUIRED, remedy="copy tokenizer/tokenizer.json of Example1B", source=_README
)
@with_inputs
def tokenizer_fits(e: Package, inputs: Inputs) -> Verdict:
    """`tokenizer.json` is a tokenizer, and no id of it or of `genie_config` is beyond the
    embedding.
    """
    if TOKENIZER not in e.files:
        return skipped(f"{TOKENIZER} is missing, see AIG-2")
    try:
        found = read_object(e.root / TOKENIZER)
    except SubmissionError as error:
        return failed("a tokenizer", error.problem)
    model, added = found.get("model"), found.get("added_tokens", [])
    known = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(known, dict) or not isinstance(added, list):
        return failed("model and its vocab, as the tokenizers library writes it", TOKENIZER)
    ids = [*known.values(), *(each.get("id") for each in added if isinstance(each, dict))]
    numbers = [id for id in ids if isinstance(id, int)]
    top = max(numbers, default=0)
    beyond = {TOKENIZER: top, **inputs.special}
    odd = [
        failed(f"ids below n-vocab, {inputs.vocabulary}", str(id), name)
        for name, id in beyond.items()
        if not 0 <= id < inputs.vocabulary
    ]
    return together(odd) or passed(f"{len(numbers)} ids, up to {top} of {inputs.vocabulary}")


@package_rule(
    "AIG-11",
    Level.REQUIRED,
    remedy="take it out; on a Mac zip with `zip -r team.zip team -x '*.DS_Store' '__MACOSX*'`",
    source=f"{_SCRIPT}: os.listdir",
)
def binaries_stand_alone(e: Package) -> Verdict:
    """In the folder of the language model there are context binaries alone.

    Every file in it goes to Genie as one, whatever its name: a `.DS_Store` too.
    """
    below = tuple(f"{folder}/" for folder in e.contexts)
    inside = [name for name in (*e.files, *e.litter) if below and name.startswith(below)]
    odd = [name for name in inside if not fnmatchcase(_last(name), BINARY)]
    return failed("context binaries", ", ".join(odd)) if odd else passed(f"{len(inside)} files")


@package_rule("AIG-12", Level.ADVICE, remedy="leave it out of the zip", source=_UPLOAD)
def nothing_else(e: Package) -> Verdict:
    """The package holds nothing that the README does not list."""
    named = {COS, SIN, INPUTS, TOKENIZER, *e.matching(EMBEDDING), *e.masks}
    named.update(e.matching(BINARY, VISION_FOLDER))
    below = tuple(f"{folder}/" for folder in e.contexts)
    found = [*e.files, *e.litter]
    odd = [n for n in found if n not in named and not (below and n.startswith(below))]
    more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
    return failed("nothing else", ", ".join(odd[:6]) + more) if odd else passed("nothing else")


@package_rule(
    "AIG-13",
    Level.REQUIRED,
    remedy="copy it again and compare its size; `qnn-context-binary-utility` reads it too",
    source="Qualcomm's QnnSystemContext_getMetaData",
)
@with_binaries
def binaries_can_be_read(e: Package, found: Binaries) -> Verdict:
    """Every context binary is one, and whole."""
    odd = [failed("a context binary", text, name) for name, text in found.broken.items()]
    if not odd and found.other:
        return skipped(f"{', '.join(found.other)}: of another QAIRT, whose layout is not read here")
    if not odd and not found.read:
        return skipped("missing, see AIG-2")
    words = (f"{_last(n)}: {len(s['graphs'])} graphs, {s['qairt']}" for n, s in found.read.items())
    return together(odd) or passed("; ".join(words))


@package_rule(
    "AIG-14",
    Level.DOCUMENTED,
    remedy="build them with the names of the tutorial's Example2B",
    source="26LPCVC_Track3_Sample_Solution, inference_multi.py:"
    " context_enable_graphs=ar1_cl2048_1_of_1",
)
@with_binaries
def graphs_have_their_names(e: Package, found: Binaries) -> Verdict:
    """The graphs of the language model are named by their folder: `ar128-ar1-cl2048` has
    `ar128_cl2048_1_of_1` and `ar1_cl2048_1_of_1`, or as many of each as there are files.
    """
    if len(e.contexts) != 1 or not e.language or any(name not in found.read for name in e.language):
        return skipped("not read, see AIG-2 and AIG-13")
    numbers = _FOLDER.fullmatch(e.contexts[0])
    if not numbers:
        return failed("ar<tokens>-ar<tokens>-cl<context>", e.contexts[0], remedy="rename it")
    *steps, context = numbers.groups()
    count = len(e.language)
    wanted = {f"ar{s}_cl{context}_{i + 1}_of_{count}" for s in steps for i in range(count)}
    seen = [graph["name"] for name in e.language for graph in found.read[name]["graphs"]]
    if set(seen) != wanted or len(seen) != len(wanted):
        return failed(", ".join(sorted(wanted)), ", ".join(seen) or "none")
    return passed(", ".join(seen))


@package_rule(
    "AIG-15",
    Level.DOCUMENTED,
    remedy="write the context that the graphs were built for",
    source="26LPCVC_Track3_Sample_Solution, contestant_uploads/inputs.json",
)
@with_inputs
def context_is_the_folders(e: Package, inputs: Inputs) -> Verdict:
    """The context of `genie_config` is the one that the folder is named by."""
    numbers = _FOLDER.fullmatch(e.contexts[0]) if len(e.contexts) == 1 else None
    if not numbers:
        return skipped("no folder says it, see AIG-2 and AIG-14")
    context = int(numbers[3])
    if inputs.context != context:
        return failed(f"{context} of {e.contexts[0]}", str(inputs.context))
    return passed(str(context))


@package_rule(
    "AIG-16",
    Level.REQUIRED,
    remedy="export the vision encoder with these inputs, in this order",
    source=f"{_SCRIPT}: input_list.txt",
)
@with_binaries
@with_inputs
def vision_takes_what_is_fed(e: Package, found: Binaries, inputs: Inputs) -> Verdict:
    """The vision encoder takes pixel values, cosines, sines and masks, in this order and in the
    sizes of the files.

    qnn-net-run pairs them by order alone, and takes float32 whatever the graph holds.
    """
    graph = _vision(found)
    masks = sorted(e.masks)
    if graph is None or any(name not in e.files for name in (COS, SIN)) or not masks:
        return skipped("not read, see AIG-2 and AIG-13")
    patches = picture.MERGE**2 * inputs.tokens
    fed = {"pixel values": patches * picture.PATCH_VALUES * _FLOAT_BYTES}
    fed |= {name: e.files[name] for name in (COS, SIN, *masks)}
    taken = graph["inputs"]
    words = ", ".join(f"{t['name']} {format_shape(tuple(t['shape']))}" for t in taken)
    if len(taken) != len(fed):
        return failed(f"{len(fed)}: {', '.join(fed)}", f"{len(taken)}: {words}")
    odd = [
        failed(
            f"{prod(tensor['shape']) * _FLOAT_BYTES} bytes of {name}",
            str(size),
            f"{tensor['name']} {format_shape(tuple(tensor['shape']))}",
        )
        for tensor, (name, size) in zip(taken, fed.items(), strict=True)
        if size
        and size % (patches * _FLOAT_BYTES) == 0  # AIG-9 has the others
        and prod(tensor["shape"]) * _FLOAT_BYTES != size
    ]
    return together(odd) or passed(words)


@package_rule(
    "AIG-17",
    Level.REQUIRED,
    remedy="name the output of the vision encoder so before it is converted",
    source=f"{_SCRIPT}: Result_0/vision_embedding.raw",
)
@with_binaries
@with_inputs
def vision_answers_an_embedding(e: Package, found: Binaries, inputs: Inputs) -> Verdict:
    """The vision encoder has an output `vision_embedding` of tokens x width."""
    graph = _vision(found)
    if graph is None:
        return skipped("not read, see AIG-2 and AIG-13")
    outputs = {each["name"]: tuple(each["shape"]) for each in graph["outputs"]}
    words = ", ".join(f"{name} {format_shape(shape)}" for name, shape in outputs.items())
    wanted = (1, inputs.tokens, inputs.dim)
    if prod(outputs.get(_OUTPUT, (0,))) != prod(wanted):
        return failed(f"{_OUTPUT} {format_shape(wanted)}", words)
    return passed(words)


@package_rule(
    "AIG-18",
    Level.ADVICE,
    remedy="build it for soc_model 87, dsp_arch v81",
    source=f"{_SCRIPT}: dsp_arch v81; README section 5, Snapdragon 8 Gen 5",
)
@with_binaries
def built_for_the_device(e: Package, found: Binaries) -> Verdict:
    """The context binaries are built for the Hexagon v81 of the device.

    Those of an earlier chip load more slowly, if at all.
    """
    known = {device.soc_model: device for device in all_devices()}
    wanted = find_device("Snapdragon 8 Elite Gen 5 QRD")
    if not found.read:
        return skipped("not read, see AIG-2 and AIG-13")
    odd, chips = [], []
    for name, said in found.read.items():
        device = known.get(said["soc_model"])
        chip = f"{device.soc} {device.hexagon}" if device else f"soc_model {said['soc_model']}"
        chips.append(chip)
        if device is not None and device.hexagon != wanted.hexagon:
            odd.append(failed(f"{wanted.soc} {wanted.hexagon}", chip, name))
    return together(odd) or passed(", ".join(dict.fromkeys(chips)))


def _vision(found: Binaries) -> Any:
    """The graph of the vision encoder; None where it was not read or has none."""
    graphs = found.read.get(VISION, {}).get("graphs", [])
    return graphs[0] if graphs else None
