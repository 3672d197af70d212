"""Colours of the page in both themes, and of the badge."""

# Name: in the light theme and in the dark one. Contrast to WCAG AA is a test.
THEME = {
    "page": ("#f6f7f9", "#14171c"),
    "card": ("#ffffff", "#1c2128"),
    "ink": ("#1b1f24", "#e8ebef"),
    "soft": ("#545d68", "#a3adb8"),
    "line": ("#d5dae0", "#363d47"),
    "link": ("#0b5cad", "#7db8f7"),
    "pass": ("#17683a", "#6fd396"),
    "pass-tint": ("#e2f4e8", "#16301f"),
    "fail": ("#b3141e", "#ff9a96"),
    "fail-tint": ("#fde8e8", "#3d1a1c"),
    "warn": ("#7a4d00", "#f0c060"),
    "warn-tint": ("#fcf0d6", "#362a10"),
    "skip": ("#545d68", "#a3adb8"),
    "skip-tint": ("#eceff2", "#262c34"),
}

# Behind white text.
BADGE = {"passing": "#17683a", "failing": "#b3141e", "warnings": "#7a4d00", "incomplete": "#545d68"}
