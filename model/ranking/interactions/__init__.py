"""How the ranker's feature vectors meet: one file a form in `forms/`, and the table of their names (`table.py`).

A form reads `Fields` and returns `Fields`, so any of them can follow any other or stand beside it:

    forward(fields: Fields) -> Fields       out_shape: FieldShape

What belongs to the request comes, and where the maths allows leaves, once a request (`parts/fields.py`).
"""
