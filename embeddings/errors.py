"""The one exception that every layer raises for a mistake of the user's."""


class UserError(ValueError):
    """A bad value, file or flag: one sentence that says what is wrong and what to do.

    The command line prints the sentence and exits with status 2; anything else that is raised is a bug of ours and
    keeps its traceback.
    """
