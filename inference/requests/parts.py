"""The files that requests stand in: a Parquet file, or a folder of them as Spark writes it."""

from pathlib import Path

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.parts import Part, parts_below

SUFFIX = ".parquet"


def request_parts(path: Path, of: str = "requests") -> list[Part]:
    """The file itself, or the files of a folder and of the folders in it, sorted by their paths.

    Args:
        path: the file, or the folder.
        of: what stands in them; for messages.

    Raises:
        UserError: there is none, or another file stands among them.
    """
    if path.is_file():
        return [Part(path)]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a Parquet file of {of}, or a folder of them.")
    return parts_below(path, (SUFFIX,), SUFFIX, f"the folder of the {of}")
