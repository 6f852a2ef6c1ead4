from __future__ import annotations

import pytest

from loopwright.cli.demo import Screen
from loopwright.cli.digits import Progress
from loopwright.cli.show import console


def test_the_picture_shows_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(10)
    progress.add("7", 1.0)
    console().print(Screen().picture(progress))
    picture = capsys.readouterr().out
    for part in ("1 of 10", "reward now", "so far", "uniform choice", "feedback to serving", "7 "):
        assert part in picture
