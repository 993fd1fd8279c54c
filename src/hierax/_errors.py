"""The exceptions: for input that is refused before any work is done, and for results on request."""


class InputError(ValueError):
    """Input that cannot be used, said so that the reader can repair it.

    Parameters
    ----------
    what
        What is wrong, with its likely cause, as one sentence.
    where
        The place: the argument, field, file or column, and the first offending index.
    remedy
        What to do about it, as one sentence.

    Examples
    --------
    >>> raise InputError("A value of the data is not finite.", "column 'u', row 17", "Drop or repair the row.")
    Traceback (most recent call last):
    ...
    hierax._errors.InputError: A value of the data is not finite.
      where:  column 'u', row 17
      remedy: Drop or repair the row.
    """

    what: str
    where: str
    remedy: str

    def __init__(self, what: str, where: str, remedy: str) -> None:
        # The three parts are the arguments of the exception, so that it survives pickling between processes.
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n  where:  {self.where}\n  remedy: {self.remedy}"


class ProcessesError(RuntimeError):
    """Raised in a training of several processes where another one is gone, or does not add up numbers rightly."""


class TrainingError(RuntimeError):
    """Raised by `train(..., throw=True)` in place of a result other than `successful`."""
