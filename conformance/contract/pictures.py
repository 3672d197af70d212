"""Answers as pictures: a mask over its photograph, depth and classes in colours, differences."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from conformance.contract.evidence import Run
from conformance.contract.probes import PHOTOS
from conformance.report.document import Chart, Figure, Scale
from conformance.report.palette import CITYSCAPES, Pixels, coloured, css, stops
from reference.tracks import Track

Array = npt.NDArray[np.generic]

_PANEL, _GAP = 320, 2  # pixels that a picture is wide, and between those side by side
_MASK = (230, 60, 20)
_DEPTH, _DIFFERENCE = "viridis", "inferno"
_RARE = 0.005  # the share of the picture below which a class is not in the legend


def photograph(track: Track, run: Run) -> Pixels:
    """The picture that was fed, (H, W, 3), without the padding of a letterbox."""
    assert run.part.image is not None, "a model of pictures"
    fed = run.probe.feeds()[str(run.part.image.name)][0].transpose(1, 2, 0)
    height, width = run.probe.content or fed.shape[:2]
    pixels = fed[:height, :width] * (255 / track.image_high)
    return np.asarray(pixels.clip(0, 255), np.uint8)


def answer(track: Track, run: Run) -> Figure | None:
    """A photograph and the model's answer to it side by side; None on a track of embeddings."""
    photo, name = photograph(track, run), run.probe.name
    match track.name:
        case "segmentation":
            mask = _cropped(run, run.output) > 0.5  # type: ignore[operator]
            text, share = PHOTOS[name][1], f"{mask.mean():.1%} of the picture"
            key = ((css(_MASK), f"mask, {share}"),)
            alt = f"The photograph {name}; beside it the mask for {text!r} in red: {share}."
            panels = [photo, _overlay(photo, mask)]
            return _figure(f"{name}: {text!r}", alt, panels, legend=key)
        case "depth":
            depth = _depth(run)
            low, high = _range(depth)
            scale = Scale(stops(_DEPTH), f"{low:.4g}", f"{high:.4g}", "relative depth")
            alt = (
                f"The photograph {name}; beside it its depth, from {low:.4g} (dark violet)"
                f" to {high:.4g} (yellow)."
            )
            return _figure(name, alt, [photo, coloured(depth, low, high, _DEPTH)], scale=scale)
        case "pidnet":
            classes = _classes(run)
            legend = _legend(classes)
            alt = f"The photograph {name}; beside it its classes: {_listed(legend)}."
            return _figure(name, alt, [photo, _cityscapes(classes)], legend=legend)
    return None


def difference(track: Track, host: Run, other: Run, device: str) -> Figure | None:
    """The host's answer, that of `device`, and where they differ; None on a track of embeddings."""
    name = host.probe.name
    start = f"Answers to the photograph {name}: the host's, that of {device}, and "
    match track.name:
        case "segmentation":
            masks = [_cropped(run, run.output) > 0.5 for run in (host, other)]  # type: ignore[operator]
            flipped = masks[0] != masks[1]
            panels = [coloured(mask, 0, 1, "bone") for mask in masks]
            share = f"{flipped.mean():.3%} of the pixels flipped"
            panels.append(_overlay(panels[0] // 2, flipped))
            return _figure(
                f"{name}: {share}",
                f"{start}{share}, in red.",
                panels,
                legend=((css(_MASK), share),),
            )
        case "depth":
            maps = [_depth(run) for run in (host, other)]
            apart = np.abs(maps[0] - maps[1])
            low, high = _range(maps[0])
            largest = _range(apart)[1]
            panels = [coloured(m, low, high, _DEPTH) for m in maps]
            panels.append(coloured(apart, 0, largest, _DIFFERENCE))
            scale = Scale(stops(_DIFFERENCE), "0", f"{largest:.3g}", "difference, right picture")
            words = f"largest difference {largest:.3g}"
            return _figure(f"{name}: {words}", f"{start}{words}.", panels, scale=scale)
        case "pidnet":
            classes = [_classes(run) for run in (host, other)]
            other_class = classes[0] != classes[1]
            panels = [_cityscapes(c) for c in classes]
            share = f"{other_class.mean():.3%} of the pixels have another class"
            panels.append(_overlay(panels[0] // 3, other_class))
            return _figure(f"{name}: {share}", f"{start}{share}, in red.", panels)
    return None


def ranked(track: Track, run: Run, chart: Chart) -> Figure:
    """A photograph, small, with the chart of what is nearest to it."""
    name = run.probe.name
    small = _figure(name, f"The photograph {name}.", [photograph(track, run)], width=_PANEL // 2)
    return replace(small, chart=chart)


def _figure(
    caption: str,
    alt: str,
    panels: Sequence[Pixels],
    *,
    scale: Scale | None = None,
    legend: tuple[tuple[str, str], ...] = (),
    width: int = _PANEL,
) -> Figure:
    """The panels side by side, each brought to the first one's aspect ratio."""
    height = round(width * panels[0].shape[0] / panels[0].shape[1])
    whole = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height), "grey")
    for index, panel in enumerate(panels):
        whole.paste(_resized(panel, (width, height)), (index * (width + _GAP), 0))
    data = BytesIO()
    whole.save(data, "JPEG", quality=85, subsampling=0)
    return Figure(caption, alt, data.getvalue(), whole.size, scale, legend)


def _resized(panel: Pixels, size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(panel))
    larger = size[0] > image.width
    how = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
    return image.resize(size, how)


def _cropped(run: Run, output: Array) -> Array:
    height, width = run.probe.content or output.shape[-2:]
    return np.asarray(output.reshape(output.shape[-2:])[:height, :width])


def _depth(run: Run) -> npt.NDArray[np.float64]:
    return np.asarray(run.output, np.float64).reshape(run.output.shape[-2:])


def _overlay(photo: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """`photo` in grey with the mask in colour over it."""
    grey = photo.mean(axis=2, keepdims=True) * 0.85 + 20
    tint = np.where(mask[..., None], 0.4 * grey + 0.6 * np.array(_MASK), grey)
    return np.broadcast_to(tint, photo.shape).clip(0, 255).astype(np.uint8)


def _classes(run: Run) -> npt.NDArray[np.intp]:
    return np.asarray(run.output[0].argmax(axis=0))


def _cityscapes(classes: npt.NDArray[np.intp]) -> Pixels:
    return np.array([colour for _, colour in CITYSCAPES], np.uint8)[classes]


def _legend(classes: npt.NDArray[np.intp]) -> tuple[tuple[str, str], ...]:
    shares = np.bincount(classes.ravel(), minlength=len(CITYSCAPES)) / classes.size
    order = [i for i in np.argsort(-shares, kind="stable") if shares[i] >= _RARE]
    return tuple((css(CITYSCAPES[i][1]), f"{CITYSCAPES[i][0]} {shares[i]:.0%}") for i in order)


def _listed(legend: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(name for _, name in legend)


def _range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
