"""What a teacher gives to the grader: folders and notebooks, a roster, and points."""

from pathlib import Path

import pytest

from lab_utils.course.grade import main
from lab_utils.course.grading.files import NotReadable, Student, find_files, owner_of, read_roster
from lab_utils.course.grading.points import read_points

ADA, ALAN = Student("a1", "Ada", "ada"), Student("a2", "Alan", "alan")


# ---------------------------------------------------------------- files


def test_folders_are_walked_and_no_link_is_followed(tmp_path):
    for name in (
        "ada/04.ipynb",
        "ada/deep/er/04.ipynb",
        "alan/04.IPYNB",
        "ada/.ipynb_checkpoints/04.ipynb",
        "a.txt",
    ):
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.ipynb").write_text("")
    (tmp_path / "class" / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "class" / "link.ipynb").symlink_to(tmp_path / "outside" / "x.ipynb")
    keys = [file.key for file in find_files([tmp_path / "class"])]
    assert keys == ["link.ipynb", "ada/04.ipynb", "ada/deep/er/04.ipynb", "alan/04.IPYNB"]
    two = find_files([tmp_path / "class", tmp_path / "outside"])
    assert {"class/ada/04.ipynb", "outside/x.ipynb"} <= {file.key for file in two}


def test_what_is_named_twice_is_graded_once(tmp_path, monkeypatch):
    for name in ("class/ada/04.ipynb", "class/02.ipynb", "other/class/02.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)

    def keys(*places):
        return [file.key for file in find_files([Path(place) for place in places])]

    assert keys("class/02.ipynb", "class/02.ipynb") == ["02.ipynb"]
    assert keys("class/02.ipynb", "./class/ada/../02.ipynb", str(tmp_path / "class/02.ipynb")) == ["02.ipynb"]
    assert keys("class", "class/") == keys("class", str(tmp_path / "class")) == ["02.ipynb", "ada/04.ipynb"]
    assert keys("class", "class/ada/04.ipynb") == ["02.ipynb", "ada/04.ipynb"]
    assert keys("class", "class/ada") == ["class/02.ipynb", "class/ada/04.ipynb"]
    # Other files of the same name are told apart, from two folders too.
    assert keys("class", "other/class/02.ipynb") == ["class/02.ipynb", "ada/04.ipynb", "other/class/02.ipynb"]
    assert keys("class", "other/class") == ["class/02.ipynb", "class/ada/04.ipynb", "other/class/02.ipynb"]


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("ada/04.ipynb", "a1"),
        ("Ada_04.ipynb", "a1"),
        ("ADA 04.ipynb", "a1"),
        ("adam/04.ipynb", None),
        ("ada2/04.ipynb", None),
        ("alan/ada/04.ipynb", "a2"),
        ("04.ipynb", None),
    ],
)
def test_a_prefix_of_the_path_says_whose_it_is(key, owner):
    found = owner_of(key, [ADA, ALAN])
    assert (found.identity if found else None) == owner


def test_the_longest_prefix_counts():
    second = Student("a3", "Ada B.", "ada b")
    assert owner_of("ada b/04.ipynb", [ADA, second]) is second
    assert owner_of("ada c/04.ipynb", [ADA, second]) is ADA


def test_letters_are_the_same_however_a_system_composes_them():
    assert owner_of("zoe\u0308/04.ipynb", [Student("z", "", "Zo\u00eb")])


def test_a_roster_is_read(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("\ufeffstudent,name,prefix\na1,Ada,Lovelace_Ada\na2,,\n", encoding="utf-8")
    assert read_roster(path) == [Student("a1", "Ada", "Lovelace_Ada"), Student("a2", "", "a2")]


@pytest.mark.parametrize(
    "text",
    [
        "Student, Name, Prefix\na1, Ada, x\n",
        " STUDENT ,NAME,PREFIX,GROUP\r\na1,Ada,x,7\r\n",
        "name,prefix,student\nAda,x,a1\n\n",
        'student, "name", prefix\n"a1", "Ada", "x",,\n',
    ],
    ids=["spaces", "more columns", "another order", "marks"],
)
def test_a_roster_as_other_programs_write_it(tmp_path, text):
    path = tmp_path / "roster.csv"
    path.write_text(text, newline="")
    assert read_roster(path) == [Student("a1", "Ada", "x")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must name the columns"),
        ("name\nAda\n", r"\(name and prefix may be left out\); it is 'name'"),
        ("student;name\na1;Ada\n", "with commas: student,name,prefix .*; it is 'student;name'"),
        ("student\tname\na1\tAda\n", "it is 'student.+name'"),
        ("a1,Ada\n", "it is 'a1,Ada'"),
        ("student,name\n\n,\n", "names no student"),
        ("student,name\na1,Ada\n\na2,Lovelace, Ada\n", "line 4: more cells than columns"),
        ("student,name\n ,Ada\n", "line 2: `student` is empty"),
        ("student,prefix\na1,x\na2,X\n", "line 3: 'X' begins the files of two students"),
        ("student\n\xff", "no CSV"),
    ],
    ids=[
        "empty",
        "no column",
        "semicolons",
        "tabs",
        "no head",
        "only a head",
        "comma",
        "no student",
        "twice",
        "bytes",
    ],
)
def test_a_roster_that_cannot_be_is_one_line(tmp_path, text, why):
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(NotReadable, match=why):
        read_roster(path)


# ---------------------------------------------------------------- points


def test_points_are_one_where_the_file_says_nothing(tmp_path):
    path = tmp_path / "points.yaml"
    path.write_text("attend: 3\ncausal_mask: 0.5\n")
    points = read_points(path)
    assert (points["attend"], points["causal_mask"], points["split_heads"]) == (3, 0.5, 1)
    assert set(read_points(None).values()) == {1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("atend: 2", "no exercise called 'atend'; did you mean attend?"),
        ("attend: -1", "attend must be a number, 0 or more"),
        ("attend: yes", "attend must be a number"),
        ("attend: .nan", "attend must be a number"),
        ("[1]", "a line for each exercise"),
        ("a: [", "line 1: a value is missing"),
        ("a: !!python/object/apply:os.system [x]", "is not allowed"),
        ("attend: 2\ncausal_mask: 1\nattend: 3", "line 3: 'attend' stands here twice: keep one of the two"),
    ],
    ids=["name", "negative", "bool", "nan", "list", "broken", "code", "twice"],
)
def test_points_that_cannot_be_are_one_line(tmp_path, capsys, text, why):
    path = tmp_path / "points.yaml"
    path.write_text(text)
    assert main([str(tmp_path), "--points", str(path)]) == 2
    shown = capsys.readouterr().err
    assert why in shown and len(shown.splitlines()) == 1
