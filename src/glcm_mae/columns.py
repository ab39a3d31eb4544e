"""Names and whole numbers, as tables and arrays of any make hold them."""

from collections.abc import Iterable
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_names(values: Iterable[object]) -> tuple[str, ...]:
    """Turn names and numbers into text: the patient 7 is the patient "7".

    Parameters
    ----------
    values : iterable
        Text, numbers, or what stands for nothing: None, NaN, pandas' NA and NaT.

    Returns
    -------
    tuple of str
        Empty where nothing is.

    Examples
    --------
    >>> as_names(["a", 7, None, float("nan")])
    ('a', '7', '', '')
    """
    return tuple(map(_as_name, values))


def as_whole(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Take numbers without a fraction for integers.

    Parameters
    ----------
    name : str
        What the values are called.
    values : array_like
        Numbers, of any shape.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    ValueError
        If one is none, has a fraction, is infinite, or too large.

    Examples
    --------
    >>> as_whole("labels", [0.0, True])
    array([0, 1])
    >>> as_whole("labels", [0.5])
    Traceback (most recent call last):
    ...
    ValueError: labels must be whole numbers: give an index for each image.
    """
    given = np.asarray(values)
    if given.dtype.kind == "O" and all(isinstance(value, Real) for value in given.flat):
        given = given.astype(np.float64)
    is_exact = given.dtype.kind in "bi"
    if given.dtype.kind in "uf":  # floats count one by one up to 2^53, and unsigned may not fit
        is_exact = bool(np.all((np.abs(given) <= 2**53) & (given == np.floor(given))))
    if not is_exact:
        raise ValueError(f"{name} must be whole numbers: give an index for each image.")
    return given.astype(np.int64)


def _as_name(value: object) -> str:
    if isinstance(value, str):
        return value
    text = str(value)
    return "" if value is None or text in ("nan", "NaT", "<NA>") else text
