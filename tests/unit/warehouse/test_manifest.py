from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.warehouse.world import World, erased, feedback

from loopwright.core import parts
from loopwright.core.errors import StaleVersion
from loopwright.warehouse import WarehouseCorrupt, manifest
from loopwright.warehouse.manifest import Manifest


def events(world: World) -> list[Any]:
    return [row[4] for row in world.warehouse().query("export_rows", tenant_id="acme").rows]


def in_the_old_form(world: World) -> bytes:
    """Put one `manifest.json`, as it was before manifests had numbers, in place of the numbered ones."""
    found = manifest.read(world.blobs)
    for name in list(world.blobs.names(parts.PREFIX)):
        world.blobs.delete(name)
    files = [
        {"sha256" if key == "digest" else key: value for key, value in file.items()}
        for file in msgspec.to_builtins(found.parts)
    ]
    content = msgspec.json.encode(
        {
            "format": found.format,
            "generation": 57,
            "watermark": found.watermark,
            "files": files,
            "dropped": found.dropped,
        }
    )
    world.blobs.put(manifest.OLD_NAME, content)
    return content


class Stopped(Exception):
    pass


@pytest.mark.parametrize("steps", range(12))
def test_a_folder_of_the_earlier_form_is_adopted_wherever_the_first_run_stops(
    world: World, steps: int
) -> None:
    for n in range(3):
        world.say(feedback(f"f{n}", person=f"p{n}"))
        world.loader().run()
    content = in_the_old_form(world)
    # What a killed process of that time left behind.
    (world.folder / ".staged-abc").write_bytes(b"{}")
    (world.folder / "feedback/x.parquet.partial").write_bytes(b"")
    assert events(world) == ["f0", "f1", "f2"]
    assert list(world.blobs.names(parts.PREFIX)) == [], "reading publishes nothing"
    world.say(feedback("f3"), erased("p1"))
    left = steps

    def heard(step: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped(step)

    with pytest.raises(Stopped):
        world.loader(heard=heard, most_files=1).run()
    assert events(world) == ["f0", "f2", "f3"]
    world.loader(most_files=1).run()
    assert events(world) == ["f0", "f2", "f3"]
    assert world.blobs.get(manifest.OLD_NAME) == content, "the old file is the backup"
    names = set(world.blobs.names())
    assert not {name for name in names if "staged" in name or name.endswith(".partial")}


def test_only_the_manifest_that_was_read_can_be_followed(world: World) -> None:
    first = manifest.publish(world.blobs, Manifest(), watermark=1)
    manifest.publish(world.blobs, first, watermark=2)
    with pytest.raises(StaleVersion):
        manifest.publish(world.blobs, first, watermark=3)
    assert manifest.read(world.blobs).watermark == 2


def test_a_damaged_manifest_of_the_earlier_form_is_a_clear_error(world: World) -> None:
    world.blobs.put(manifest.OLD_NAME, b"{")
    with pytest.raises(WarehouseCorrupt, match=r"manifest\.json cannot be read.*rebuilt"):
        manifest.read(world.blobs)
