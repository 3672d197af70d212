"""Relative depth: what the track feeds, expects back, and where that is written."""

from reference.tracks import RAW, Part, Tensor, Track, picture

DEPTH_2025 = Track(
    name="depth",
    edition="2025",
    title="LPCVC 2025 Track 3: monocular relative depth",
    parts=(
        Part(
            "model",
            (picture("image", 480, 640, RAW),),
            Tensor(
                None,
                (1, 1, 480, 640),
                ("float32",),
                "relative depth in [0, 1]",
                kind="depth",
                values=(0.0, 1.0),
            ),
        ),
    ),
    image_high=255.0,
    device="Samsung Galaxy S24 (Family)",
    compile_options="",
    budget="30 FPS or better",
    budget_ms=1000.0 / 30.0,
    metric="F-score",
    sources=(
        "LPCVC 2025 Track 3 sample solution, README section 2",
        "25LPCVC_Track3_Sample_Solution",
        "25LPCVC_Evaluations, Track_3",
    ),
    prefix="DEP",
    home="reference.depth",
    rules="conformance.rules.depth",
    # Sample solution, README section 4.
    form="https://lpcv.ai/2025LPCVC/submission/track3",
    leaderboard="https://lpcv.ai/2025LPCVC/leaderboard/track3",
)

TRACKS = (DEPTH_2025,)
