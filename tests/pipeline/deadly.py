"""Encoders that die: of white frames, or of all."""

import os

from tests.toys import Colours


class AfraidOfWhite(Colours):
    def encode_frames(self, frames):
        if (frames.reshape(len(frames), -1).mean(1) > 200).any():
            os._exit(1)
        return super().encode_frames(frames)


class Broken(Colours):
    def encode_frames(self, frames):
        os._exit(1)
