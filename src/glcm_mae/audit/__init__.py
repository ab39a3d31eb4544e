"""Looking at a data set before anything is trained on it: what would spoil a study.

`check` reads every image once and returns the whole audit; `write_audit` and `format_audit` put it
on disk and on a terminal.
"""

from glcm_mae.audit.check import check, write_audit
from glcm_mae.audit.table import format_audit

__all__ = ["check", "format_audit", "write_audit"]
