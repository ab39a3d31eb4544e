"""The one error that is the user's to mend."""


class UserError(Exception):
    """A mistake in the user's input: a file, a folder or a setting.

    The message is one sentence that names the file or the setting, says what is wrong and what
    to do. The command line prints it without a traceback and exits with code 2.

    Examples
    --------
    >>> raise UserError("runs/a holds a finished run: choose another folder with --out.")
    Traceback (most recent call last):
    ...
    glcm_mae.errors.UserError: runs/a holds a finished run: choose another folder with --out.
    """
