"""Drawings as figures of a report."""

from io import BytesIO

from PIL import Image

from conformance.report.document import Chart, Figure
from reference.pictures import Drawing, Pixels, resized

PANEL, _GAP = 320, 2  # pixels that a picture is wide, and between those side by side


def figure_of(caption: str, alt: str, drawing: Drawing, *before: Pixels) -> Figure:
    """The pictures `before`, then those of the drawing, each in the first one's aspect ratio."""
    panels = [*before, *drawing.panels]
    width = PANEL // 2 if drawing.ranking else PANEL
    height = round(width * panels[0].shape[0] / panels[0].shape[1])
    whole = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height), "grey")
    for index, panel in enumerate(panels):
        whole.paste(resized(panel, (width, height)), (index * (width + _GAP), 0))
    data = BytesIO()
    whole.save(data, "JPEG", quality=85, subsampling=0)
    size = whole.size
    return Figure(caption, alt, data.getvalue(), size, drawing.scale, drawing.legend)


def bars_of(caption: str, drawing: Drawing) -> Chart:
    """The ranking of a drawing with its values as bars."""
    return Chart(
        "bars",
        caption,
        f"{caption}. {drawing.alt}.",
        tuple(rank.text for rank in drawing.ranking),
        tuple(rank.value or 0.0 for rank in drawing.ranking),
        drawing.unit,
    )
