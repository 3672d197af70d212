"""Files that are written: where they cannot be, that is told before the work."""

from pathlib import Path

from reference.errors import SubmissionError


def made_room(path: Path) -> Path:
    """`path`, a file to be written, in its folder, which is made where it is missing.

    Raises SubmissionError where no file can be there.
    """
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        taken = isinstance(error, FileExistsError | NotADirectoryError)
        why = "what should be its folder is a file" if taken else error.strerror
        raise SubmissionError(f"{path} cannot be written ({why})", "name another file") from None
    if path.is_dir():
        raise SubmissionError(f"{path} is a folder", "name a file")
    return path
