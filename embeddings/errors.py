"""The one exception that every layer raises for a mistake of the user's."""


class UserError(ValueError):
    """A bad value, file or flag: one sentence that says what is wrong and what to do.

    The command line prints the sentence and exits with status 2; anything else that is raised is a bug of ours and
    keeps its traceback.
    """


def require_at_least(owner: str, least: float, **values: float) -> None:
    """Refuses settings below a bound.

    Args:
        owner: what the names belong to, such as `pretrain`; empty for the run itself.
        least: the bound.
        values: the settings by name.

    Raises:
        UserError: one of them is smaller, or no number.
    """
    for name, value in values.items():
        if not value >= least:
            raise UserError(f"{owner}{'.' * bool(owner)}{name} ({value}) must be at least {least}.")


def require_at_most(owner: str, most: float, **values: float) -> None:
    """Refuses settings above a bound; see `require_at_least`."""
    for name, value in values.items():
        if not value <= most:
            raise UserError(f"{owner}{'.' * bool(owner)}{name} ({value}) must be at most {most}.")


def require_positive(owner: str, **values: float) -> None:
    """Refuses settings that are not above zero; see `require_at_least`."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{owner}{'.' * bool(owner)}{name} ({value}) must be above 0.")
