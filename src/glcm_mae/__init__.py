"""Masked autoencoders for medical images that learn texture."""

__version__ = "0.1.0"
