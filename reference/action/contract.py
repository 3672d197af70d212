"""Action recognition: what the track feeds, expects back, and where that is written.

A contract says what a graph takes, and there are two valid ones: a graph whose clips have their
channels last, which is what the evaluator feeds, or one whose channels come ahead of the frames,
as video models of PyTorch have them, compiled with a flag that turns them round. So there are two
editions with rooms in common; nothing else has to know that a model may be laid out in two ways.
"""

from dataclasses import replace

from reference.tracks import CHANNEL_LAST, Part, Tensor, Track

FRAMES, SIZE = 16, 112
# The folders of the data set with spaces as `_`, in the order of class_map.json, which is ASCII's.
CLASSES = (
    *("air_jump_rope", "alternating_forward_lunges", "alternating_lateral_lunge"),
    *("alternating_v_ups", "arm_circles", "background", "bending_windmill_stretch"),
    *("bunny_hops", "burpee", "buttkickers", "cat-cow_pose"),
    *("changing_the_webcam_view_while_lying_down", "child_pose", "cobra_pose"),
    *("coming_closer_to_the_webcam", "cross", "cross-legged_hamstring_stretch"),
    *("cross_+_hook_right", "crouching", "curtsy_lunges", "dead_bugs"),
    *("deltoid_stretch", "elbow_plank", "falling_over", "feet_apart"),
    *("fire_hydrant", "floor_touches", "forward_stance_forward_bend"),
    *("front_lunge_kick", "garland_pose", "going_down_on_knees", "good_morning"),
    *("halfway_lift", "heel_lift", "high_knees", "hip_circles", "hook_left"),
    *("inchworm", "jab_+_cross", "jab_+_uppercut_left", "jabs"),
    *("jump_feet_together", "jumping_jacks", "jumping_lunges", "kickback"),
    *("leg_lifts", "low_lunge_pose", "lunges", "lying_down_after_pushup"),
    *("lying_down_in_random_position", "mountain-climbers", "moving_plank"),
    *("neck_rolls", "neck_warmup", "plank_preparation", "plank_taps", "plie_squat"),
    *("puddle_jump", "pushups", "quad_stretch", "quick_feet", "raised_leg_circles"),
    *("roll_down", "shoulder_gators", "side_plank", "snowboarders", "spider_man"),
    *("spider_man_pushup", "squat_jacks", "squat_jump", "squat_kick"),
    *("squat_punch", "squats", "standing_groin_stretch"),
    *("standing_hamstring_stretch", "standing_kick", "standing_kicks"),
    *("standing_knee-to-elbow", "standing_oblique_crunches", "standing_t"),
    *("standing_up", "standing_ytw", "step_feet_together", "toe_touch"),
    *("tree_pose", "tuck_jump", "uppercut_right", "warrior_1", "warrior_2"),
    *("wide-legged_forward_fold", "wrist_twists", "yoga_pushup"),
)

VIDEO = Tensor(
    "video",
    (1, FRAMES, SIZE, SIZE, 3),
    ("float32",),
    "16 frames of RGB, [0, 1], mean/std inside the model",
    "picture",
)
CLASS_PROBS = Tensor(
    "class_probs",
    (1, len(CLASSES)),
    ("float32",),
    "logits of the 92 classes, in the order of class_map.json",
    "logits",
)

ACTION_2026 = Track(
    name="action",
    edition="2026",
    title="LPCVC 2026 Track 2: action recognition in video",
    parts=(Part("model", (VIDEO,), CLASS_PROBS),),
    image_high=1.0,
    device="Dragonwing IQ-9075 EVK",
    compile_options="--target_runtime qnn_context_binary",
    budget="34 ms (nghiant03/LPCV-2026; on the leaderboard the slowest ranked entry has 32.551 ms,"
    " the fastest disqualified one 36.571 ms)",
    budget_ms=34.0,
    metric="Top-1",
    sources=(
        "26LPCVC_Track2_Sample_Solution",
        "qai-hub-models, _shared/video_classifier",
        "nghiant03/LPCV-2026",
    ),
    prefix="ACT",
    home="reference.action",
    rules="conformance.rules.action",
    rooms=(("agreement", "reference.classification.agreement"),),
)

ACTION_2026_NCTHW = replace(
    ACTION_2026,
    edition="2026-ncthw",
    title="LPCVC 2026 Track 2: action recognition in video (channels ahead of the frames)",
    parts=(Part("model", (replace(VIDEO, shape=(1, 3, FRAMES, SIZE, SIZE)),), CLASS_PROBS),),
    compile_options=f"{ACTION_2026.compile_options} {CHANNEL_LAST} {VIDEO.name}",
    rooms=(
        *ACTION_2026.rooms,
        ("inputs", "reference.action.ncthw.inputs"),
        ("model", "reference.action.ncthw.model"),
    ),
)

TRACKS = (ACTION_2026, ACTION_2026_NCTHW)
