"""Reading the command line and its recipes."""

from glcm_mae.arguments.commands import COMMANDS, names_of
from glcm_mae.arguments.line import parse
from glcm_mae.arguments.recipes import sections

__all__ = ["COMMANDS", "names_of", "parse", "sections"]
