"""The three packages that share one binary interface, checked before the first of them is loaded."""

from importlib.metadata import PackageNotFoundError, version

from pinfm.embeddings.errors import UserError

TESTED = {"torch": "2.13.0", "fbgemm-gpu": "1.8.0", "torchrec": "1.8.0"}


class VersionError(UserError, ImportError):
    """The packages installed do not load together."""


def require_tested_versions() -> None:
    """Refuses a torch / fbgemm / torchrec triple that does not load together.

    Raises:
        VersionError: naming the versions found and the versions wanted.
    """
    found = {
        "torch": _version("torch"),
        "fbgemm-gpu": _version("fbgemm-gpu-cpu") if _version("fbgemm-gpu") == "none" else _version("fbgemm-gpu"),
        "torchrec": _version("torchrec"),
    }
    if found != TESTED:
        raise VersionError(
            f"pinfm needs {_sentence(TESTED)} together, but finds {_sentence(found)}; "
            "install them with `uv sync --extra cpu` or `uv sync --extra cuda`."
        )


def _version(package: str) -> str:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        return "none"


def _sentence(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {number}" for package, number in versions.items())
