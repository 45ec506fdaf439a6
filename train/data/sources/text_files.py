"""How the user's own text files are written, as flags."""

from dataclasses import dataclass, field

from pinfm.embeddings.errors import UserError, require_types
from pinfm.train.data.reading.text.layout import Layout, require_layout, spelled_character


@dataclass(frozen=True, kw_only=True)
class TextFiles:
    r"""Flags for .csv, .tsv and .dat files; Parquet needs none.

    Args:
        delimiter: what stands between two fields: a character, `tab`, a code such as \x01, or up to 4 bytes such as ::;
            by default a tab in .tsv, a comma otherwise.
        quote: the character around fields that hold delimiters, or `none`; by default " in .csv and none in .tsv.
        escape: the character before one that is meant as it stands, such as a backslash in files of Spark, Hive and
            MySQL; by default a quote is doubled instead.
        null: texts that mean a missing value, beside the empty one; \N by default.
        encoding: utf-8 by default; latin-1, utf-16 or another that Python knows.
        skip_lines: lines before the header, or before the first row.
        column_names: the columns of an events table without a header.
        impressions_column_names: the columns of an impressions table without a header.
        items_column_names: the columns of an items table without a header.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    null: list[str] = field(default_factory=lambda: ["\\N"])
    encoding: str = "utf-8"
    skip_lines: int = 0
    column_names: list[str] = field(default_factory=list)
    impressions_column_names: list[str] = field(default_factory=list)
    items_column_names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_types("", self)
        for names in (self.column_names, self.impressions_column_names, self.items_column_names):
            require_layout(self.layout(names))
        if any(set(text) & {"\n", "\r"} for text in self.null):
            raise UserError("null holds a line break; give what stands in the file for a missing value, such as NULL")

    def layout(self, names: list[str]) -> Layout:
        """Returns the layout of a table's files.

        Args:
            names: its columns; none where the files have a header.

        Raises:
            UserError: when a flag is no character.
        """
        return Layout(
            delimiter=spelled_character("delimiter", self.delimiter, longest=4),
            quote=spelled_character("quote", self.quote),
            escape=spelled_character("escape", self.escape) or "",
            nulls=tuple(self.null),
            encoding=self.encoding.lower().replace("utf8", "utf-8"),
            skip_lines=self.skip_lines,
            names=tuple(names) or None,
        )
