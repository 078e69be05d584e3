"""What the committed list of mutants promises; `run.py` writes it."""

import csv
from pathlib import Path

with Path(__file__).with_name("list.csv").open(newline="") as file:
    ROWS = list(csv.DictReader(file))
TESTS = Path(__file__).parents[1]


def test_nine_of_ten_mutants_are_killed_and_reasons_stand_beside_the_others():
    survived = [row for row in ROWS if row["killed by"] == "survived"]

    assert len(ROWS) == 200
    assert len(survived) <= 20
    assert [row["change"] for row in survived if not row["why"]] == []
    assert [row["change"] for row in ROWS if not row["killed by"]] == []


def test_tests_that_killed_a_mutant_are_still_there():
    killers = {row["killed by"] for row in ROWS if "::" in row["killed by"]}
    gone = []
    for killer in sorted(killers):
        file, name = killer.split("::")
        if f"def {name}(" not in (TESTS / file).read_text():
            gone.append(killer)
    assert gone == []
