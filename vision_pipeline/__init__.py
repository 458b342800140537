"""Batch image analysis: a folder or manifest of images and a prompt in, a typed table out."""

__version__ = "0.1.0"
