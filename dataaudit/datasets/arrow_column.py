"""Other labels in an Arrow column, its type unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataaudit.datasets.changes import Changes, as_cell, first_row_of
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError

_LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
MOST_CATEGORIES = 10_000
"""A column of more is of text, whatever its type says."""


def new_values(
    samples: Samples, changes: Changes, kind: pa.DataType, stored: Sequence[str] | None
) -> dict[int, pa.Scalar]:
    """Return how the label column holds each new label; see `class_values`.

    Raises
    ------
    DataError
        The column's type cannot hold a new target.
    """
    if changes.values is None:
        return class_values(samples, changes.classes(), kind, stored)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    nested = any(is_one(plain) for is_one in _LISTS)
    form: Callable[[Any], Any] = _form_of_items(plain.value_type) if nested else str
    written = {}
    for place, new in enumerate(changes.values):
        value: Any = new if isinstance(new, bytes) else as_cell(samples, new)
        if isinstance(new, float):
            value = int(new) if pa.types.is_integer(plain) and new.is_integer() else new
        elif nested:
            value = [form(name) for name in new]
        try:
            written[place] = pa.scalar(value, type=plain)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"{samples.source.description}: column {samples.label_column!r} holds {plain} and "
                f"cannot hold {value!r}: {error}"
            ) from None
    return written


def _form_of_items(kind: pa.DataType) -> Callable[[Any], Any]:
    """Return what makes a label, by its name or as 0 or 1, an item of a list."""
    if pa.types.is_boolean(kind):
        return lambda label: bool(int(label))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return int
    return lambda label: label


def class_values(
    samples: Samples, labels: Sequence[int], kind: pa.DataType, stored: Sequence[str] | None
) -> dict[int, pa.Scalar]:
    """Return how the label column holds some classes.

    Parameters
    ----------
    samples : Samples
    labels : sequence of class indices
    kind : pyarrow.DataType
        Of the label column.
    stored : sequence of str or None
        The names that the data stores for its class numbers (ClassLabel), in its order.
    """
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return {
        label: pa.scalar(_class_value(samples, label, plain, stored), type=plain)
        for label in labels
    }


def _class_value(
    samples: Samples, label: int, kind: pa.DataType, stored: Sequence[str] | None
) -> Any:
    row = first_row_of(samples, label)
    if row is not None:
        value = samples.take([row]).frame[samples.label_column].iloc[0]
        return getattr(value, "item", lambda: value)()
    name = str(samples.classes[label])
    if stored is not None:
        return list(stored).index(name)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if text or pa.types.is_string_view(kind):
        return name
    return name.lower() == "true" if pa.types.is_boolean(kind) else int(name)


def decoded_bytes(column: pa.Array) -> int:
    """Return how many bytes the values of a column take where each row has its own.

    Nothing is decoded: of a dictionary, of runs and of what is nested, lengths are added up.
    """
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return decoded_bytes(column.storage)
    if pa.types.is_dictionary(kind):
        lengths = _lengths(column.dictionary)
        return 0 if lengths is None else _total(pc.take(lengths, column.indices))
    if pa.types.is_run_end_encoded(kind):
        ends = pc.cast(column.run_ends, pa.int64())
        starts = pa.concat_arrays([pa.array([0], pa.int64()), ends[:-1]])
        lengths = _lengths(column.values)
        rows = pc.subtract(ends, starts)
        return 8 * _total(rows) if lengths is None else _total(pc.multiply(lengths, rows))
    if pa.types.is_struct(kind):
        return sum(decoded_bytes(child) for child in column.flatten())
    if pa.types.is_map(kind):
        first, last = column.offsets[0].as_py(), column.offsets[len(column)].as_py()
        parts = (column.keys, column.items)
        return sum(decoded_bytes(part.slice(first, last - first)) for part in parts)
    if any(is_list(kind) for is_list in _LISTS):
        return decoded_bytes(column.flatten())
    if pa.types.is_nested(kind):
        # A union holds each value once.
        return int(column.nbytes)
    lengths = _lengths(column)
    return column.nbytes if lengths is None else _total(lengths)


def _lengths(values: pa.Array) -> pa.Array | None:
    """Return the bytes of each value, int64; None where all are of one small size."""
    kind = values.type
    if not (is_text(kind) or pa.types.is_nested(kind)):
        return None
    if pa.types.is_nested(kind):
        whole = [decoded_bytes(values.slice(place, 1)) for place in range(len(values))]
        return pa.array(whole, pa.int64())
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        wide = pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary()
        values = values.cast(wide)
    return pc.cast(pc.binary_length(values), pa.int64())


def _total(values: pa.Array) -> int:
    return pc.sum(values).as_py() or 0


def is_text(kind: pa.DataType) -> bool:
    """Tell whether values are texts or bytes of any length."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary_view(kind)
    )


def dictionary_columns(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """Return which of the columns hold categories."""
    return [name for name in names if pa.types.is_dictionary(schema.field(name).type)]


def stored_categories(tables: Iterable[pa.Table], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values in the dictionaries of some columns, in the order they are stored.

    A column with more than `MOST_CATEGORIES` is left out.
    """
    found: dict[str, dict[Any, None]] = {name: {} for name in names}
    for table in tables:
        for name in list(found):
            for chunk in table.column(name).chunks:
                if len(chunk.dictionary) <= MOST_CATEGORIES:
                    found[name].update(dict.fromkeys(chunk.dictionary.to_pylist()))
                else:
                    found.pop(name, None)
                    break
            if len(found.get(name, ())) > MOST_CATEGORIES:
                del found[name]
    return {name: [each for each in values if each is not None] for name, values in found.items()}


def with_labels(
    column: pa.Array, new: Mapping[int, int], values: Mapping[int, pa.Scalar]
) -> pa.Array:
    """Return the column with other labels on some of its lines.

    Parameters
    ----------
    column : pyarrow.Array `[rows]`
    new : mapping of line to class index
    values : mapping of class index to pyarrow.Scalar
        Of all classes that are written anywhere: the dictionary of a column of categories is
        extended alike in every part of a file.
    """
    if pa.types.is_dictionary(column.type):
        return _in_categories(column, new, values)
    lines = [values[new[line]] if line in new else None for line in range(len(column))]
    mask = pa.array([line in new for line in range(len(column))], type=pa.bool_())
    wanted = pa.array([None if item is None else item.as_py() for item in lines], column.type)
    return pc.if_else(mask, wanted, column)


def _in_categories(
    column: pa.DictionaryArray, new: Mapping[int, int], values: Mapping[int, pa.Scalar]
) -> pa.Array:
    known = column.dictionary.to_pylist()
    added = [item.as_py() for item in values.values() if item.as_py() not in known]
    dictionary = column.dictionary
    if added:
        extended = [*known, *dict.fromkeys(added)]
        dictionary = pa.array(extended, type=column.type.value_type)
    places = {label: dictionary.to_pylist().index(item.as_py()) for label, item in values.items()}
    mask = pa.array([line in new for line in range(len(column))], type=pa.bool_())
    wanted = pa.array(
        [places[new[line]] if line in new else None for line in range(len(column))],
        type=column.type.index_type,
    )
    indices = pc.if_else(mask, wanted, column.indices)
    return pa.DictionaryArray.from_arrays(indices, dictionary, ordered=column.type.ordered)
