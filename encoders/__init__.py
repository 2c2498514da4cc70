"""Encoders know tensors: frames, sound and words into unit vectors of named spaces."""

from encoders.registry import UnknownEncoderError, load, names

__all__ = ["UnknownEncoderError", "load", "names"]
