"""Members of tar archives, held by the million."""

from vision_pipeline.adapters.sources.tar_members import TarMembers
from vision_pipeline.core.tar import TarMember


def test_members_come_back_as_they_were():
    members = [
        TarMember(f"{number}.jpg", 512 * number, number, "1700000000.5", is_regular=True)
        for number in range(2500)
    ]
    members[3] = TarMember("b\udcff.jpg", 1 << 62, 0, "", is_regular=False, target="c\udcff.jpg")
    held = TarMembers(members)
    assert list(held) == members
    assert list(held) == members
    assert len(held) == 2500
