"""`-m contract`, which runs unasked."""

from conformance.marker import Marker

MARKER = Marker("does the submission keep the rules of its track?", unasked=True)
