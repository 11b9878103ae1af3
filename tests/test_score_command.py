"""`comp score` on small keys, on the odd files, and on a real key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.commands.score import image_sizes, run
from comp.config import Competition
from comp.errors import CompError, ConfigError, SubmissionError
from comp.files import Workspace
from comp.formats import read_table
from tests.processes import run_python

KEY = "ImageId,EncodedPixels,Height,Width\na,1 2 7 3,4,5\nb,,4,5\nc,20 1,4,5\n"
GOOD = "ImageId,EncodedPixels\na,1 2\nb,\nc,20 1\n"


def files(folder: Path, submission: str, key: str = KEY) -> tuple[Path, Path]:
    (folder / "sub.csv").write_text(submission, encoding="utf-8")
    (folder / "key.csv").write_text(key, encoding="utf-8")
    return folder / "sub.csv", folder / "key.csv"


def score(folder: Path, submission: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    call: dict[str, Any] = {
        "competition": None,
        "workspace_sizes": None,
        "metrics": [],
        "per_image": None,
        **more,
    }
    return run(*files(folder, submission, key), **call)


def competition(**changes: Any) -> Competition:
    return Competition.model_validate(
        {
            "name": "toy",
            "task": "binary",
            "classes": ["roof"],
            "data": {"root": "data", "train": [{"images": "i/{id}.png"}]},
            **changes,
        }
    )


@pytest.mark.parametrize("names", [("roof_tile", "tile"), ("0", "1")])
def test_a_key_says_how_classes_are_spelled(tmp_path: Path, names: tuple[str, str]) -> None:
    """Classes joined to ids, by their own names or by number, without class_names."""
    shape = {"class_in_id": True, "row": "image_class"}
    comp = competition(task="multilabel", classes=["roof_tile", "tile"], submission=shape)
    rows = [
        f"a_{names[0]},1 2,4,5",
        f"a_{names[1]},,4,5",
        f"b_{names[0]},,4,5",
        f"b_{names[1]},3 3,4,5",
    ]
    key = "\n".join(["ImageId,EncodedPixels,Height,Width", *rows])
    submission = key.replace(",Height,Width", "").replace(",4,5", "")
    result = score(tmp_path, submission, key, competition=comp)
    assert result["classes"] == ["roof_tile", "tile"]
    assert result["scores"]["all"]["iou_image_mean"] == 1


def test_scores_and_the_printed_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = score(tmp_path, GOOD)
    assert result["metric"] == "iou_image_mean" and result["greater_is_better"]
    scores = result["scores"]["all"]
    assert scores["iou_image_mean"] == pytest.approx(0.8)
    assert scores["dice_image_mean"] == pytest.approx((4 / 7 + 2) / 3)
    assert scores["iou_dataset"] == pytest.approx(0.5)
    assert scores["pixel_accuracy"] == pytest.approx(57 / 60)
    assert result["n_images"] == {"all": 3}
    printed = capsys.readouterr().out
    assert "sub.csv against key.csv: 3 images x 1 class, one row an image" in printed
    assert "column-major, first pixel 1" in printed
    for name in ("iou_image_mean", "recall_dataset", "f1_dataset", "precision_dataset", "0.800000"):
        assert name in printed


def test_public_and_private_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = KEY.replace("Width\n", "Width,Usage\n").replace(",4,5\nb", ",4,5,Public\nb")
    key = key.replace("b,,4,5", "b,,4,5,Private").replace("c,20 1,4,5", "c,20 1,4,5,Ignored")
    result = score(tmp_path, GOOD, key, metrics=["dice_image_mean"])
    assert list(result["scores"]) == ["public", "private", "all"]
    assert result["scores"]["public"] == {"dice_image_mean": pytest.approx(4 / 7)}
    assert result["scores"]["private"] == {"dice_image_mean": 1.0}
    assert result["scores"]["all"] == {"dice_image_mean": pytest.approx((4 / 7 + 1) / 2)}
    assert result["n_images"] == {"public": 1, "private": 1, "all": 2}
    printed = capsys.readouterr().out
    assert "public" in printed and "private" in printed
    assert "1 image whose Usage is Ignored: scored nowhere" in printed


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    head, *rows = GOOD.splitlines()
    key_head, *key_rows = KEY.splitlines()
    turned = (
        "\n".join([head, *rows[::-1]]),
        "\n".join([key_head, key_rows[1], key_rows[0], key_rows[2]]),
    )
    assert score(tmp_path, *turned)["scores"] == score(tmp_path, GOOD)["scores"]


def test_each_image(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "each.csv"
    score(tmp_path, GOOD, per_image=out)
    frame = read_table(out)
    assert frame["image_id"].tolist() == ["a", "b", "c"]
    assert frame["iou"].tolist() == ["0.400000", "1.000000", "1.000000"]
    assert frame.loc[0, ["tp", "fp", "fn", "tn"]].tolist() == ["2", "0", "3", "15"]
    assert frame["class"].tolist() == ["mask"] * 3


def test_an_id_that_is_a_formula_is_scored_exactly_and_guarded_in_the_table(tmp_path: Path) -> None:
    odd, out = '=HYPERLINK("x")', tmp_path / "each.csv"
    quoted = '"' + odd.replace('"', '""') + '",'
    key, good = (text.replace("\na,", f"\n{quoted}") for text in (KEY, GOOD))
    assert score(tmp_path, good, key, per_image=out)["scores"] == score(tmp_path, GOOD)["scores"]
    assert sorted(set(read_table(out)["image_id"])) == [f"'{odd}", "b", "c"]


def test_everything_wrong_at_once(tmp_path: Path) -> None:
    bad = "ImageId,EncodedPixels,x\na,1 two,\na,1 2,\nc,20 2,\nd,1 1,\n"
    with pytest.raises(SubmissionError) as caught:
        score(tmp_path, bad)
    for part in (
        "unexpected column 'x'; expected ImageId, EncodedPixels (as in key key.csv)",
        "1 repeated: id 'a' (rows 1, 2)",
        "1 missing: id 'b'",
        "1 not in the key: id 'd'",
        "row 1, id 'a': 'two' is not a whole number",
        "row 3, id 'c': run 20 2 passes the last of 20 pixels (4 x 5)",
    ):
        assert part in str(caught.value)


def test_ids_are_judged_though_a_column_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError) as caught:
        score(tmp_path, "ImageId,rle\na,1 2\nc,\n")
    assert "no column 'EncodedPixels'" in str(caught.value)
    assert "1 missing: id 'b'" in str(caught.value)


CLASS_KEY = "ImageId,ClassId,EncodedPixels\na,0,1 3\na,1,4 1\nb,0,1 4\nb,1,\n"


def test_a_key_with_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = CLASS_KEY.replace("a,0,1 3\na,1,4 1", "a,0,1 2\na,1,3 2")
    sizes = lambda image_id: (2, 2)  # noqa: E731
    result = score(tmp_path, wrong, CLASS_KEY, workspace_sizes=sizes)
    assert result["metric"] == "iou_dataset_macro"
    assert result["classes"] == ["0", "1"]
    assert result["per_class"]["all"] == {"0": pytest.approx(6 / 7), "1": pytest.approx(1 / 2)}
    assert result["scores"]["all"]["iou_dataset_macro"] == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert result["scores"]["all"]["pixel_accuracy"] == pytest.approx(7 / 8)
    assert result["scores"]["all"]["iou_image_mean"] == pytest.approx((2 / 3 + 1 / 2 + 2) / 4)
    assert "iou_dataset_macro of each class:" in capsys.readouterr().out


def test_absent_rows_of_a_class_are_faults_of_either_file(tmp_path: Path) -> None:
    sparse = CLASS_KEY.replace("b,1,\n", "")
    sizes = lambda image_id: (2, 2)  # noqa: E731
    with pytest.raises(SubmissionError, match="1 missing: id 'b', class '1'"):
        score(tmp_path, sparse, CLASS_KEY, workspace_sizes=sizes)
    with pytest.raises(SubmissionError, match="the key itself has no row of 1 pair of image"):
        score(tmp_path, CLASS_KEY, sparse, workspace_sizes=sizes)
    with pytest.raises(
        SubmissionError, match=r"1 row of no known class; known 0, 1 \(as in key key.csv\): row 5"
    ):
        score(tmp_path, CLASS_KEY + "b,9,\n", CLASS_KEY, workspace_sizes=sizes)


def test_objects_are_scored_as_their_union(tmp_path: Path) -> None:
    key = "ImageId,EncodedPixels,Height,Width\na,1 2,4,5\na,9 2,4,5\nb,,4,5\n"
    result = score(tmp_path, "ImageId,EncodedPixels\nb,\na,1 2 9 2\n", key)
    assert result["scores"]["all"]["iou_image_mean"] == 1.0
    with pytest.raises(SubmissionError, match="objects share 1 pixel"):
        score(tmp_path, "ImageId,EncodedPixels\nb,\na,1 2\na,2 1\n", key)
    with pytest.raises(SubmissionError, match="1 missing: id 'b'"):
        score(tmp_path, "ImageId,EncodedPixels\na,1 2\n", key)


def test_a_key_is_read_by_the_competition_whose_columns_it_has(tmp_path: Path) -> None:
    rules = {"order": "row", "base": 0, "empty": "-"}
    comp = competition(submission=rules, metric="dice_dataset")
    key = "ImageId,EncodedPixels,height,WIDTH\na,0 2,2,3\nb,-,2,3\n"
    result = score(tmp_path, "ImageId,EncodedPixels\na,0 1 3 1\nb,-\n", key, competition=comp)
    assert result["metric"] == "dice_dataset"
    assert result["scores"]["all"]["dice_dataset"] == pytest.approx(0.5)
    assert result["classes"] == ["roof"]
    other = score(
        tmp_path, GOOD.replace("ImageId", "id"), KEY.replace("ImageId", "id"), competition=comp
    )
    assert other["metric"] == "iou_image_mean", "another key is read by its own columns"


def test_classes_are_shown_by_name_and_a_background_may_lack(tmp_path: Path) -> None:
    comp = competition(
        task="multiclass",
        classes=["ground", "road", "tree"],
        submission={"row": "image_class", "class_in_id": True},
    )
    key = "ImageId,EncodedPixels,Height,Width\na_1,1 1,2,2\na_2,4 1,2,2\n"
    result = score(tmp_path, "ImageId,EncodedPixels\na_2,4 1\na_1,\n", key, competition=comp)
    assert result["per_class"]["all"] == {"road": 0.0, "tree": 1.0}
    assert result["metric"] == "iou_dataset_macro"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("ImageId,EncodedPixels\na,\n", "the size of id 'a' is unknown: the key has no columns"),
        ("ImageId,EncodedPixels,Height\na,,4\n", "a column 'Height' without the other"),
        ("ImageId,EncodedPixels,Height,Width\na,,4,0\n", "row 1, id 'a': '4' x '0' is no size"),
        ("ImageId,EncodedPixels,Height,Width\na,,4,1e3\n", "'4' x '1e3' is no size"),
        ("ImageId,EncodedPixels,Height,Width\na,1 1,4,5\na,2 1,5,4\n", "5 x 4, but 4 x 5 before"),
        ("ImageId,EncodedPixels\n", "an answer key without rows"),
        ("ImageId,x,y\na,,\n", "one column of run-length codes named like EncodedPixels or rle"),
        ("ImageId\na\n", "got ImageId"),
        (
            "i,rle,Height,Width,Usage\na,,4,5,\n",
            "row 1, id 'a': ''; expected Public, Private or Ignored",
        ),
        ("i,rle,Height,Width,Usage\na,,4,5,Ignored\n", "the Usage of every image is Ignored"),
    ],
)
def test_a_faulty_key_is_refused(tmp_path: Path, key: str, said: str) -> None:
    head = key.split(",")[0].split("\n")[0]
    rle = "rle" if ",rle" in key else "EncodedPixels"
    with pytest.raises(SubmissionError, match=said):
        score(tmp_path, f"{head},{rle}\na,\n", key)


def test_a_key_with_other_columns_than_competition_and_submission_is_named(tmp_path: Path) -> None:
    wrong = KEY.replace("ImageId", "img").replace("EncodedPixels", "rle")
    with pytest.raises(SubmissionError) as caught:
        score(tmp_path, GOOD, wrong, competition=competition())
    said = str(caught.value)
    assert said.startswith(
        "key key.csv: expected the columns ImageId, EncodedPixels of competition"
    )
    assert "got img, rle, Height, Width; rename the key's columns, or name the right key" in said
    with pytest.raises(SubmissionError, match=r"no column 'img'.*\(as in key key.csv\), got Im"):
        score(tmp_path, GOOD, wrong)  # nobody knows which of the two is wrong: both are named


def test_a_key_of_other_images_is_named(tmp_path: Path) -> None:
    other = KEY.replace("\na,", "\na.png,").replace("\nb,", "\nb.png,").replace("\nc,", "\nc.png,")
    with pytest.raises(SubmissionError) as caught:
        score(tmp_path, GOOD, other)
    assert (
        "key key.csv: none of its ids (a.png, b.png, c.png) is in sub.csv (a, b, c); is it the right key?"
        in str(caught.value)
    )


def test_a_missing_key_is_said_to_be_the_key(tmp_path: Path) -> None:
    sub, _ = files(tmp_path, GOOD)
    with pytest.raises(SubmissionError, match=r"the answer key cannot be read: missing file: .*no"):
        run(sub, tmp_path / "no.csv", None, None, [], None)


OBJECTS = "ImageId,EncodedPixels,Height,Width\na,1 2,4,5\na,9 2,4,5\nb,,4,5\n"


def test_objects_against_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = "ImageId,EncodedPixels\na,1 2 9 2\nb,\n"
    assert score(tmp_path, images, OBJECTS)["scores"]["all"]["iou_image_mean"] == 1.0
    assert "key key.csv has one row an object, sub.csv one row an image: objects are scored as" in (
        capsys.readouterr().out
    )
    with pytest.raises(SubmissionError) as caught:
        score(tmp_path, images, OBJECTS, competition=competition())
    said = str(caught.value)
    assert "key key.csv: has several rows an id" in said and "-o submission.row=object" in said
    assert "sub.csv" not in said
    rows = {"row": "object"}
    both = score(tmp_path, images, OBJECTS, competition=competition(submission=rows))
    assert both["scores"]["all"]["iou_image_mean"] == 1.0


def test_images_against_objects(tmp_path: Path) -> None:
    key = OBJECTS.replace("a,1 2,4,5\na,9 2,4,5", "a,1 2 9 2,4,5")
    with pytest.raises(SubmissionError) as caught:
        score(tmp_path, "ImageId,EncodedPixels\na,1 2\na,9 2\nb,\n", key)
    said = str(caught.value)
    assert "sub.csv: has several rows an id, key key.csv has one" in said
    assert "join the runs of an image (and class) in one cell" in said


def test_an_unknown_metric_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown metric 'dice'"):
        score(tmp_path, "nothing", metrics=["dice"])


def test_a_picture_larger_than_memory_is_scored_from_its_runs(tmp_path: Path) -> None:
    key = "id,rle,Height,Width\na,1 10,1000000,1000000\n"
    result = score(tmp_path, "id,rle\na,6 10\n", key)
    assert result["scores"]["all"]["iou_dataset"] == pytest.approx(5 / 15)


def test_sizes_from_the_competitions_images(tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "data"
    for part, names in (("i", "ab"), ("m", "ab"), ("t", "c")):
        (folder / part).mkdir(parents=True)
        for name in names:
            Image.new("L", (5, 4)).save(folder / part / f"{name}.png")
    pairs = {"images": "i/{id}.png", "masks": "m/{id}.png"}
    comp = competition(data={"root": "data", "train": [pairs], "test": "t/{id}.png"})
    sizes = image_sizes(Workspace(tmp_path, "toy"), comp)
    assert sizes("c") == (4, 5) and sizes("a") == (4, 5)
    key = "ImageId,EncodedPixels\nc,1 20\n"
    result = score(tmp_path, key, key, competition=comp, workspace_sizes=sizes)
    assert result["scores"]["all"]["iou_image_mean"] == 1.0
    stranger = "ImageId,EncodedPixels\nz,1 20\n"
    with pytest.raises(
        SubmissionError, match="id 'z' of the answer key is no image of competition"
    ):
        score(tmp_path, stranger, stranger, competition=comp, workspace_sizes=sizes)


def test_scoring_starts_without_torch(tmp_path: Path) -> None:
    sub, key = files(tmp_path, GOOD)
    code = (
        "import sys; from pathlib import Path; from comp.commands.score import run; "
        "assert not {'cv2', 'numba', 'pandas', 'torch'} & set(sys.modules); "
        f"run(Path({str(sub)!r}), Path({str(key)!r}), None, None, [], None); "
        "assert 'torch' not in sys.modules"
    )
    run_python(code)


ODD = {
    "ok_perfect": (1.0, 1.0),
    "ok_reordered": (1.0, 1.0),
    "ok_crlf_bom": (1.0, 1.0),
    "ok_unsorted_runs": (1.0, 1.0),
    "ok_half_right": (0.8, 0.857143),
    "bad_missing_id": "1 missing: id 'c'",
    "bad_extra_id": "1 not in the key: id 'd'",
    "bad_duplicate_id": "1 repeated: id 'a'",
    "bad_odd_tokens": "row 1, id 'a': start 7 has no length",
    "bad_start_zero": "row 1, id 'a': start 0 is before the first pixel",
    "bad_past_end": "row 3, id 'c': run 20 2 passes the last of 20 pixels",
    "bad_overlap": "row 1, id 'a': the runs 1 4 and 3 2 overlap",
    "bad_negative": "row 1, id 'a': -2 is negative",
    "bad_not_numbers": "row 1, id 'a': 'two' is not a whole number",
    "bad_float": "row 1, id 'a': '1.0' is not a whole number",
    "bad_minus_one": "row 1, id 'a': -1 is negative.*an empty mask is a blank cell here",
    "bad_columns": "no column 'EncodedPixels'",
    "bad_empty": "the file is empty",
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", sorted(ODD))
def test_the_odd_files(real_data: Path, name: str) -> None:
    folder = real_data / "odd" / "csv"
    expected = ODD[name]
    call = (folder / f"{name}.csv", folder / "solution.csv", None, None, [], None)
    if isinstance(expected, str):
        with pytest.raises(CompError, match=expected) as caught:
            run(*call)
        assert caught.value.exit_code == 3 and f"{name}.csv" in str(caught.value)
        return
    scores = run(*call)["scores"]["all"]
    assert scores["iou_image_mean"] == pytest.approx(expected[0])
    assert scores["dice_image_mean"] == pytest.approx(expected[1], abs=1e-6)


@pytest.mark.realdata
def test_every_odd_file_is_tested(real_data: Path) -> None:
    found = {path.stem for path in (real_data / "odd" / "csv").glob("*.csv")}
    assert found - {"solution"} == set(ODD)


@pytest.mark.realdata
def test_the_dubai_key(real_data: Path) -> None:
    folder = real_data / "dubai"
    key = folder / "solution.csv"
    perfect = run(key, key, None, lambda _: (256, 256), [], None)
    assert perfect["n_images"] == {"all": 269} and len(perfect["classes"]) == 5
    assert set(perfect["scores"]["all"].values()) == {1.0}
    nothing = run(folder / "sample_submission.csv", key, None, lambda _: (256, 256), [], None)
    assert nothing["scores"]["all"]["iou_dataset_macro"] == 0.0
    frame = read_table(key)
    blank = np.mean(frame["EncodedPixels"] == "")
    assert nothing["scores"]["all"]["iou_image_mean"] == pytest.approx(blank)
