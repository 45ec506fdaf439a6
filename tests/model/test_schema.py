"""What a schema holds, however it came here."""

from dataclasses import asdict, replace

import pytest
from model_fakes import schema

from pinfm.embeddings.errors import UserError
from pinfm.model.schema import schema_from_json


def test_only_a_vocabulary_is_numbered():
    assert replace(schema(), numbered=("surface", "action")).numbered == ("surface", "action")
    with pytest.raises(UserError, match=r"^schema\.numbered \('actoin'\) must be one of action, surface\.$"):
        replace(schema(), numbered=("actoin",))
    with pytest.raises(UserError, match=r"^schema\.numbered \('s'\) must be one of action, surface\.$"):
        schema_from_json({**asdict(schema()), "numbered": "surface"})
