"""What `comp init` makes of a sample submission, and what verify says of one that is not followed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from comp.commands import init
from comp.config import Competition, load_competition
from comp.data.checks.tables import check_tables
from comp.data.sources.records import find_records
from comp.data.sources.sample import other_sample, sample_ids
from tests.drawn import save


def draw(root: Path, sample: str | None, test: str = "test/{}.png", high: int = 255) -> Path:
    """Four pairs, two test images; a sample submission."""
    kind = np.uint8 if high <= 255 else np.uint16
    for n in range(4):
        image = np.full((16, 24, 3) if high <= 255 else (16, 24), n * high // 4, kind)
        image[:8] = high
        mask = np.zeros((16, 24), np.uint8)
        mask[2:9, 3 : 8 + n] = 255
        save(root / f"images/p{n}.png", image)
        save(root / f"masks/p{n}.png", mask)
    for n in (26, 27):
        save(root / test.format(n), np.full(image.shape, high // 2, kind))
    if sample is not None:
        (root / "sample_submission.csv").write_text(sample)
    return root


def made(root: Path, workspace: Path) -> Competition:
    init.run(workspace, root)
    return load_competition(workspace)


@pytest.mark.parametrize("cell", ["", "1 1", "0"])
def test_blank_cells_and_own_names_are_read_and_called_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cell: str
) -> None:
    data = draw(tmp_path / "d", f"img,pixels\n26,{cell}\n27,{cell}\n")
    asked = made(data, tmp_path / "w").submission
    assert (asked.sample, asked.id_column, asked.rle_column, asked.row) == (
        "sample_submission.csv", "img", "pixels", "image",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert "order, base and empty are a guess: no training table" in out
    if cell != "1 1":
        assert "a guess: its cells hold no codes; img holds the test ids" in out
        text = (tmp_path / "w/configs/competition.yaml").read_text()
        assert "rle_column: pixels              # a guess: the other column" in text


def test_a_sample_that_is_not_read_is_kept_as_a_proposal_and_looked_at_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = draw(tmp_path / "d", "name,pixels\nother1,\nother2,\n")
    comp = made(data, tmp_path / "w")
    assert "set submission.sample, id_column and rle_column by hand" in capsys.readouterr().out
    text = (tmp_path / "w/configs/competition.yaml").read_text()
    assert "# submission:\n#   sample: sample_submission.csv\n#   id_column: name\n" in text
    problems, _ = check_tables(comp, data, find_records(comp, data), {})
    assert problems == [other_sample(comp, data)]
    assert problems[0] == (
        "sample_submission.csv: a sample submission that submission.sample does not name: its columns"
        " are name, pixels, a submission as it is written now has ImageId, EncodedPixels and would be"
        " refused; set submission.sample: sample_submission.csv, id_column and rle_column"
    )


def test_without_a_sample_the_submission_is_a_guess_that_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comp = made(draw(tmp_path / "d", None), tmp_path / "w")
    assert "submission: a guess, for no sample submission is there" in capsys.readouterr().out
    text = (tmp_path / "w/configs/competition.yaml").read_text()
    assert "submission:\n  id_column: ImageId\n  rle_column: EncodedPixels\n" in text
    assert comp.submission.base == 1 and other_sample(comp, tmp_path / "d") == ""


def test_ids_whose_slashes_became_underscores(tmp_path: Path) -> None:
    data = tmp_path / "d"
    for part, places in (("train", ("a", "b")), ("test", ("c", "d"))):
        for place in places:
            for n in range(3):
                mask = np.zeros((16, 24), np.uint8)
                mask[2:9, 3 : 8 + n] = 255
                save(
                    data / f"{part}/{place}/images/i{n}.png", np.full((16, 24, 3), 40 * n, np.uint8)
                )
                if part == "train":
                    save(data / f"{part}/{place}/masks/i{n}.png", mask)
    rows = "".join(f"{place}_i{n},\n" for place in "cd" for n in range(3))
    (data / "sample_submission.csv").write_text("image_id,rle\n" + rows)
    comp = made(data, tmp_path / "w")
    assert comp.submission.sample == "sample_submission.csv"
    records = find_records(comp, data)
    assert check_tables(comp, data, records, {})[0] == []
    ids = [record.image_id for record in records.test]
    assert sample_ids(comp, data, ids)["c/i0"] == "c_i0"


def test_a_test_folder_of_another_spelling_is_taken_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "d"
    for n in range(4):
        mask = np.zeros((16, 24), np.uint8)
        mask[2:9, 3 : 8 + n] = 1
        save(data / f"train/img/S2_{n}_MS.png", np.full((16, 24, 3), 40 * n, np.uint8))
        save(data / f"train/lab/S2_{n}_LB.png", mask)
    save(data / "test/t_20.png", np.full((16, 24, 3), 40, np.uint8))
    assert made(data, tmp_path / "w").data.test == "test/{id}.png"
    assert "test/ is taken as the test images, for its name" in capsys.readouterr().out
    save(data / "more/test/t_30.png", np.full((16, 24, 3), 40, np.uint8))
    assert made(data, tmp_path / "w2").data.test is None
    said = capsys.readouterr().out
    assert "no test images are taken: more/test, test may hold them; set data.test" in said


def test_dark_images_get_a_scale_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(draw(tmp_path / "d", None, high=4000), tmp_path / "w")
    assert "data.scale: [0, 4095] would spread them" in capsys.readouterr().out
    text = (tmp_path / "w/configs/competition.yaml").read_text()
    assert "  # scale: [0, 4095]              # proposed: the images are dark without it" in text


def test_a_table_by_the_beginning_of_ids_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "d"
    for video in (1, 2):
        for n in range(3):
            mask = np.zeros((16, 24), np.uint8)
            mask[2:9, 3 : 8 + n] = 255
            save(data / f"images/vid{video}_{n}.png", np.full((16, 24, 3), 40 * n, np.uint8))
            save(data / f"masks/vid{video}_{n}.png", mask)
    (data / "patients.csv").write_text("video,patient\nvid1,P1\nvid2,P2\n")
    comp = made(data, tmp_path / "w")
    assert "its 'video' is the beginning of the ids" in capsys.readouterr().out
    path = tmp_path / "w/configs/competition.yaml"
    text = path.read_text()
    assert "  # meta: patients.csv" in text and comp.data.meta is None
    for key in ("meta:", "meta_id_column:", "meta_ids:"):
        text = text.replace(f"  # {key}", f"  {key}")
    path.write_text(text)
    comp = load_competition(tmp_path / "w")
    assert comp.data.meta_ids == "prefix"
    assert check_tables(comp, data, find_records(comp, data), {})[0] == []
