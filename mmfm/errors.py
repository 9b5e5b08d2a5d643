"""What can go wrong, as one small tree.

    MmfmError                 everything we raise on purpose; str(error) is one line for a person
    ├── BadInput              a value that cannot be right: an option, a size, a shape
    │   └── UnreadablePicture a file that is not a picture we can read, with the reason
    ├── NotHere               what was asked for does not exist here: a file, a model, a data set
    │   └── Offline           it could be fetched, but the network cannot be reached
    ├── BadWeights            a checkpoint with missing, left-over or misshapen weights
    ├── BadData               data that cannot be used: cut short, unreadable, a wrong checksum
    ├── BadRun                a run folder that is half there, or of another model
    ├── InUse                 another process holds what this one would write
    └── OutOfSpace            the disk is full; nothing was half written

Errors are raised low and caught only by a face: the command line prints the line and exits, a page
shows it. A message says what was asked, what exists, and what to do next.
"""


class MmfmError(Exception):
    """Something went wrong that the person can understand and mend."""

    exit_status = 1


class BadInput(MmfmError, ValueError):
    """A value that cannot be right: an option, a size, a shape."""

    exit_status = 2


class UnreadablePicture(BadInput):
    """A file that is not a picture we can read."""

    exit_status = 1

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class NotHere(MmfmError, LookupError):
    """What was asked for does not exist here."""


class Offline(NotHere):
    """It could be fetched, but the network cannot be reached."""


class BadWeights(MmfmError):
    """A checkpoint whose weights do not fit the model."""


class BadData(MmfmError):
    """Data that cannot be used: cut short, unreadable, of a wrong checksum."""


class BadRun(MmfmError):
    """A run folder that is half there, or of another model."""


class InUse(MmfmError):
    """Another process holds what this one would write."""


class OutOfSpace(MmfmError):
    """The disk is full; nothing was half written."""
