"""What the recipes of AI Hub's model cards ask of a model, for the references.

A card traces `Model.from_pretrained()` with `sample_inputs()`, compiles it for `get_input_spec()`
and runs it on the same samples (model card PidNet, "How does this work?").
"""

from pathlib import Path
from typing import Self

import numpy as np
from torch import nn

from reference.data import fixture
from reference.tracks import Part, Track

Specs = dict[str, tuple[tuple[int, ...], str]]
_PICTURE, _TEXT = "photos/astronaut.png", "an astronaut in an orange suit."


class Recipe(nn.Module):
    """A reference, which knows the `part` of the `track` that it is."""

    track: Track
    part: Part

    @classmethod
    def from_pretrained(cls, weights: Path | None = None) -> Self:
        """The model in eval mode, with an official checkpoint, or without `weights` with random
        ones: nothing is downloaded here. Raises SubmissionError as `build` of its room does.
        """
        model = cls.track.room("model").build(weights)[cls.part.name]
        assert isinstance(model, cls), "the room builds the model of its part"
        return model

    def get_input_spec(self) -> Specs:
        """Shape and dtype of each input by name, in order, as `submit_compile_job` takes them."""
        return self.track.input_specs(self.part)

    def sample_inputs(self) -> dict[str, list[np.ndarray]]:
        """One sample of each input by name, in order, as `submit_inference_job` takes them: a
        photograph and a text, prepared as the track does. A clip is a slow pan across it.
        """
        prepare = self.track.room("inputs")
        return {
            str(tensor.name): [
                prepare.prepare_image(fixture(_PICTURE))
                if tensor is self.part.image
                else prepare.prepare_text(_TEXT)
            ]
            for tensor in self.part.inputs
        }
