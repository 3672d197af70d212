"""The badge: the verdict as a small SVG, for a README or a job page."""

from conformance.report.document import Verdict
from conformance.report.palette import BADGE

_NAME = "lpcvc"
_HEIGHT, _PAD = 20, 7
_NARROW, _WIDE = "fijlt", "mw"
_WIDTHS = (4.2, 10.3, 7.0)  # pixels of narrow, wide and other letters of Verdana at 11


def badge(verdict: Verdict) -> str:
    """An SVG 20 pixels high that says `verdict`, in words and in colour."""
    left, right = (_width(word) + 2 * _PAD for word in (_NAME, verdict))
    label = f"{_NAME} conformance: {verdict}"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:.0f}" height="{_HEIGHT}" role="img" \
aria-label="{label}">
<title>{label}</title>
<rect width="{left + right:.0f}" height="{_HEIGHT}" rx="3" fill="{BADGE[verdict]}"/>
<path d="M{left:.1f} 0H3a3 3 0 0 0-3 3V17a3 3 0 0 0 3 3H{left:.1f}z" fill="#3b434d"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
{_word(_NAME, left / 2)}
{_word(verdict, left + right / 2)}
</g>
</svg>
"""


def _word(word: str, x: float) -> str:
    return (
        f'<text x="{x:.1f}" y="14" textLength="{_width(word):.1f}"'
        f' lengthAdjust="spacingAndGlyphs">{word}</text>'
    )


def _width(word: str) -> float:
    narrow, wide, other = _WIDTHS
    return sum(narrow if c in _NARROW else wide if c in _WIDE else other for c in word)
