"""The command ``glcm-mae``: arguments in, one function call out."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from glcm_mae.arguments import parse
from glcm_mae.errors import UserError

_HOW_TO_GO_ON = {
    **dict.fromkeys(
        ("pretrain", "finetune"),
        "; the same command with --resume goes on from the last checkpoint",
    ),
    **dict.fromkeys(("crossval", "compare"), "; the same command goes on"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0, or 1 where a check found what it looks for, or 2 for the user's mistakes and for a full
        disk or memory, or 130 when stopped by Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        command, values, recipe = parse(words)
        # Imported only now: every stage brings its own heavy libraries.
        stages, name = import_module("glcm_mae.stages"), re.sub("[ -]", "_", command)
        stage: Callable[[Any, str], str | tuple[str, int]] = getattr(stages, name)
        outcome = stage(values, recipe)
        report, code = (outcome, 0) if isinstance(outcome, str) else outcome
        if report:  # of several processes only the first has one
            print(report, flush=True)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(f"glcm-mae: stopped{_HOW_TO_GO_ON.get(words[0], '')}", file=sys.stderr)
        return 130
    except Exception as error:
        complaint = _complaint(error)
        if complaint is None:
            raise  # a mistake of ours: the traceback is for the bug report
        print(f"glcm-mae: {complaint}", file=sys.stderr)
        return 2
    return code


def _complaint(error: Exception) -> str | None:
    """Say in a sentence what the user can mend; None if that is nothing."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} cannot be read or written ({error.strerror})."
    # PyTorch has a type of its own for a full GPU, and none for full main memory.
    full = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    if full or isinstance(error, MemoryError):
        reason = (str(error).splitlines() or ["MemoryError"])[0]
        return (
            f"the memory is full ({reason}): use fewer or smaller images or, in training, lower "
            "optimizer.batch_size (and raise optimizer.accumulate), data.image_size or model.size."
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
