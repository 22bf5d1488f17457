"""Wrong grades: task ordinal beside task classification and cleanlab, on graded exams.

    python benchmarks/grades.py student_grades.parquet

The file has the columns exam_1, exam_2, exam_3, notes, letter_grade (right) and
noisy_letter_grade (given): the exercise "label errors" of the course github.com/dcai-course/
dcai-lab. A fifth of the rows are held out under their right grade; a classifier is trained on the
others under the given one, and the average precision of each ranking of those is printed. cleanlab
is given out-of-fold probabilities of the same classifier, fitted on the trusted rows as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.rank import get_label_quality_scores
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import dataaudit

GRADES = ["A", "B", "C", "D", "F"]
EXAMS = ["exam_1", "exam_2", "exam_3"]
CLASSIFIERS = {
    "logistic regression": LogisticRegression(max_iter=1000),
    "gradient boosting": HistGradientBoostingClassifier(random_state=0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"{options.data}: there is no such file; see the first lines of this script")
    table = pd.read_parquet(options.data).fillna({"notes": "none"})
    print("| classifier | method | average precision, by seed | mean |\n|---|---|---|---|")
    for name, classifier in CLASSIFIERS.items():
        found = [_precisions(table, classifier, seed) for seed in options.seeds]
        for method in found[0]:
            values = [precisions[method] for precisions in found]
            shown = ", ".join(f"{value:.3f}" for value in values)
            print(f"| {name} | {method} | {shown} | {np.mean(values):.3f} |")


def _precisions(table: pd.DataFrame, classifier: object, seed: int) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(len(table))
    trusted, rows = table.iloc[order[: len(table) // 5]], table.iloc[order[len(table) // 5 :]]
    columns = [*EXAMS, "notes"]
    held_out = trusted[columns].assign(grade=trusted["letter_grade"])
    train = rows[columns].assign(grade=rows["noisy_letter_grade"])
    wrong = (rows["letter_grade"] != rows["noisy_letter_grade"]).to_numpy()
    model = make_pipeline(
        make_column_transformer(
            (StandardScaler(), EXAMS),
            (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["notes"]),
        ),
        clone(classifier),
    )
    fitted = clone(model).fit(train[columns], train["grade"])
    found = {
        task: dataaudit.audit(
            fitted,
            train,
            held_out,
            task=task,
            label="grade",
            classes=GRADES,
            mirror={"seed": seed},
        ).mislabels["score"]
        for task in ("ordinal", "classification")
    }
    probabilities = _out_of_fold(model, train, held_out, seed)
    given = train["grade"].map(GRADES.index).to_numpy()
    for method in ("self_confidence", "normalized_margin"):
        quality = get_label_quality_scores(given, probabilities, method=method)
        found[f"cleanlab, {method}"] = 1 - quality
    found["expected steps, out of fold"] = (
        np.abs(np.arange(len(GRADES)) - given[:, None]) * probabilities
    ).sum(axis=1)
    return {name: float(average_precision_score(wrong, score)) for name, score in found.items()}


def _out_of_fold(
    model: object, train: pd.DataFrame, held_out: pd.DataFrame, seed: int
) -> np.ndarray:
    columns = [*EXAMS, "notes"]
    result = np.zeros((len(train), len(GRADES)))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    for known, asked in folds.split(train, train["grade"]):
        learned = pd.concat([train.iloc[known], held_out])
        fitted = clone(model).fit(learned[columns], learned["grade"])
        result[asked] = fitted.predict_proba(train.iloc[asked][columns])
    return result


if __name__ == "__main__":
    main()
