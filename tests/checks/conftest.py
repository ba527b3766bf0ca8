from __future__ import annotations

import pytest


@pytest.fixture
def message_of():
    """The message of the error, of exactly this class, that a call raises: one line, not too long to be read."""

    def message(error, function, *arguments, **keywords):
        with pytest.raises(error) as caught:
            function(*arguments, **keywords)
        text = str(caught.value)
        assert type(caught.value) is error
        assert "\n" not in text
        assert len(text) < 300
        return text

    return message
