from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.texts.fold import fold


@pytest.mark.parametrize(
    ("text", "copy"),
    [
        ("plain ASCII\tstays\n", "plain ASCII\tstays\n"),
        ("für 你好。", "für 你好。"),
        ("a\u00a0b\u202fc\u3000d", "a b c d"),
        ("1\u20132\u20143\u22124\u20115", "1-2-3-4-5"),
        ("sk\u2011x and co\u2010op", "sk-x and co-op"),
        ("here \u2013 1 \u2014 there\u2014and", "here \u2013 1 \u2014 there\u2014and"),
        ("\uff41\uff20\uff42\uff0e\uff43\uff4f", "a@b.co"),
        ("\uff0b\uff14\uff19\uff1a\uff08\uff11\uff09", "+49:(1)"),
        ("\u0664\u0661 \U0001d7d9", "41 1"),
    ],
)
def test_characters_that_only_look_different_become_ascii(text: str, copy: str) -> None:
    assert fold(text) == (copy, None)


def test_characters_without_width_are_left_out_and_their_places_known() -> None:
    copy, places = fold("4\u200b1\u00ad11")
    assert (copy, places) == ("4111", [0, 2, 4, 5])


@given(st.text())
def test_every_character_of_the_copy_has_its_place_in_the_text(text: str) -> None:
    copy, places = fold(text)
    kept = text if places is None else "".join(text[place] for place in places)
    assert len(copy) == len(kept)
    for old, new in zip(kept, copy, strict=True):
        assert old == new or (new.isascii() and not old.isascii())
        assert not new.isdigit() or not new.isascii() or unicodedata.decimal(old) == int(new)


def test_folding_again_changes_nothing() -> None:
    copy, _ = fold("\uff11\u2013\u00a0\u200b2 \u2013 3")
    assert fold(copy) == (copy, None)
