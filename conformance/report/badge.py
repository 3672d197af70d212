"""The badge: the verdict as a small SVG, for a README or a job page."""

from conformance.report.document import Verdict
from conformance.report.palette import BADGE

_NAME = "lpcvc"
_HEIGHT, _PAD = 20, 7
_LETTER = 6.6  # pixels, the mean of Verdana at 11


def badge(verdict: Verdict) -> str:
    """An SVG 20 pixels high that says `verdict`, in words and in colour."""
    left, right = (len(word) * _LETTER + 2 * _PAD for word in (_NAME, verdict))
    label = f"{_NAME} conformance: {verdict}"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:.0f}" height="{_HEIGHT}" role="img" \
aria-label="{label}">
<title>{label}</title>
<clipPath id="round"><rect width="{left + right:.0f}" height="{_HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#round)">
<rect width="{left:.0f}" height="{_HEIGHT}" fill="#3b434d"/>
<rect x="{left:.0f}" width="{right + 1:.0f}" height="{_HEIGHT}" fill="{BADGE[verdict]}"/>
</g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
{_word(_NAME, left / 2)}
{_word(verdict, left + right / 2)}
</g>
</svg>
"""


def _word(word: str, x: float) -> str:
    width = len(word) * _LETTER
    return (
        f'<text x="{x:.1f}" y="14" textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs">'
        f"{word}</text>"
    )
