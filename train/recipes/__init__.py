"""The shipped recipes: configs by name."""

from pathlib import Path

from pinfm.embeddings.errors import UserError


def recipe_names() -> list[str]:
    """The names that `--config` takes beside file paths."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.yaml"))


def recipe_path(name_or_path: str) -> Path:
    """The file of a shipped recipe, or the file that was named.

    Raises:
        UserError: it is neither.
    """
    shipped = Path(__file__).parent / f"{name_or_path}.yaml"
    for path in (shipped, Path(name_or_path)):
        if path.is_file():
            return path
    raise UserError(
        f"--config {name_or_path} is neither a file nor a shipped recipe; the recipes are {', '.join(recipe_names())}, "
        "and `pretrain` and `finetune` take auto, which chooses by the dataset."
    )
