"""AI-generated images, found and explained: a package of files that Genie runs, not one graph."""

from reference.tracks import Track

AIGC_2026 = Track(
    name="aigc",
    edition="2026",
    title="LPCVC 2026 Track 3: AI-generated images, found and explained",
    parts=(),
    image_high=255.0,
    device="Snapdragon 8 Elite Gen 5 QRD",
    compile_options="",
    budget="15 tokens a second, which are not measured here",
    budget_ms=None,
    metric="detection and explanation",
    sources=(
        "26LPCVC_Track3_Sample_Solution, README and inference_script.py",
        "lpcv.ai/2026LPCVC, Track 3, early page",
        "github.com/Ganzooo/LPCVC2026-Track3-OptimAI-1st, evaluate/",
    ),
    prefix="AIG",
    home="reference.aigc",
    rules="conformance.rules.aigc",
)

TRACKS = (AIGC_2026,)
