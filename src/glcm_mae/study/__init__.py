"""Studies: arms x folds x seeds of the stages before, compared on the same images.

A study owns no training and no measure: it deals folds, calls the stages with their settings, and
puts their predictions side by side.
"""

from glcm_mae.study.compare import compare, crossval
from glcm_mae.study.in_turn import Failure
from glcm_mae.study.page import format_page, format_summary
from glcm_mae.study.run import Study

__all__ = ["Failure", "Study", "compare", "crossval", "format_page", "format_summary"]
