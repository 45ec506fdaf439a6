"""What kinds of columns a source's ids and names are, by all that its tables hold of them."""

from collections import defaultdict
from dataclasses import fields, replace

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import IdType, are_whole_numbers
from pinfm.model.written import MOST
from pinfm.train.data.reading import spelling
from pinfm.train.data.reading.columns import Kind
from pinfm.train.data.reading.sql import INTEGERS, name
from pinfm.train.data.reading.validate import Validator
from pinfm.train.data.tables import IDS, RawTables

ID_KINDS: dict[IdType, Kind] = {"int64": "id", "uint64": "unsigned_id", "text": "text_id"}
FIELDS = len(fields(spelling.Measured))
NUMBERED: tuple[Kind, ...] = ("number_choice", "number_name")
# A log's numbers as `--actions` may name them.
_FLOAT_OF_INTEGER = ".0"


def spelled(validator: Validator, tables: RawTables) -> RawTables:
    """Decides of each id and of the surface how the log writes it, and of the actions by their names.

    Args:
        validator: its views are read, each once, but for text ids.
        tables: as the source gives them.

    Returns:
        The same tables with `kinds`, and with numbered actions in their one spelling.

    Raises:
        UserError: the files cannot be read, or two actions are one number.
    """
    actions = [_number_or_name(action) for action in tables.actions]
    positive = [_number_or_name(action) for action in tables.positive_actions]
    kinds: dict[str, Kind] = {}
    if are_whole_numbers(actions):
        twice = next((action for action in actions if actions.count(action) > 1), None)
        if twice is not None:
            raise UserError(f"actions names the number {twice} twice; name each action once")
        kinds["action"] = "number_choice"
        tables = replace(tables, actions=tuple(actions), positive_actions=tuple(positive))
        if tables.sampling is not None:
            tables = replace(tables, tasks=tuple(map(_number_or_name, tables.tasks)))
    uses = _uses(validator, tables)
    for column in IDS:
        if uses[column]:
            kinds[column] = ID_KINDS[_id_type(validator, tables, uses[column], column)]
    surfaces = [measured for _, _, measured in uses["surface"]]
    if any(measured.numbers for measured in surfaces) and not any(measured.others for measured in surfaces):
        kinds["surface"] = "number_name"
    return replace(tables, kinds=kinds)


_Use = tuple[str, str, spelling.Measured]  # relation, SQL type, what its values are


def _uses(validator: Validator, tables: RawTables) -> dict[str, list[_Use]]:
    """Where each column stands, with one pass over each relation."""
    found: dict[str, list[_Use]] = defaultdict(list)
    for relation in (tables.events, tables.impressions, tables.items):
        if relation is None:
            continue
        types = validator.types(relation)
        # What is missing, or of no fitting type, is named where the table is staged.
        columns = [c for c in (*IDS, "surface") if spelling.can_spell(types.get(tables.raw_name(c), ""))]
        sql = ", ".join(
            spelling.measured_sql(name(tables.raw_name(column)), types[tables.raw_name(column)]) for column in columns
        )
        row = validator.row(relation, f"SELECT {sql} FROM {name(relation)}") if columns else ()
        for place, column in enumerate(columns):
            measured = spelling.Measured(*row[FIELDS * place : FIELDS * (place + 1)])
            found[column].append((relation, types[tables.raw_name(column)], measured))
    return found


def _id_type(validator: Validator, tables: RawTables, uses: list[_Use], column: str) -> IdType:
    """Text where one has zeros before its digits, or at least half of the distinct values are no integers.

    Fewer are mistakes, which the checks name.

    Raises:
        UserError: one has zeros before its digits, and another table's type says that the ids are integers.
    """
    if column in tables.text_ids:
        return "text"
    padded = next((relation for relation, _, measured in uses if measured.padded), None)
    if padded is not None:
        _tell_padded(validator, tables, uses, column, padded)
        return "text"
    if any(measured.others for _, _, measured in uses):
        raw = name(tables.raw_name(column))
        values = " UNION ".join(spelling.distinct_sql(relation, raw, sql_type) for relation, sql_type, _ in uses)
        counts = f"SELECT 2 * count(*) FILTER (is_text) >= count(*) FROM ({values}) WHERE text IS NOT NULL"
        if validator.row(uses[0][0], counts)[0]:
            return "text"
    least, greatest = min(use[2].least for use in uses), max(use[2].greatest for use in uses)
    return "uint64" if greatest > MOST and least >= 0 else "int64"


def _tell_padded(validator: Validator, tables: RawTables, uses: list[_Use], column: str, relation: str) -> None:
    """Names the first id with zeros before it, for one that is mistyped makes text of all others."""
    raw = tables.raw_name(column)
    place, value = validator.first(relation, name(raw), spelling.is_padded(name(raw)))
    told = f"{place}, column {raw}: {value!r} has zeros before it, as text ids have"
    typed = next((relation for relation, sql_type, _ in uses if sql_type.startswith(INTEGERS)), None)
    if typed is not None:
        raise UserError(
            f"{told}, but {validator.files(typed)} holds {raw} as integers; correct it, or say with --text-ids "
            f"'[{column}]' that they are text"
        )
    number = sum(measured.padded for _, _, measured in uses)
    validator.notes.append(
        f"{told} ({number:,} such), so every {raw} is read as text; correct it if they are integers."
    )


def _number_or_name(action: str) -> str:
    whole = action.removesuffix(_FLOAT_OF_INTEGER)
    return whole if are_whole_numbers([whole]) else action
