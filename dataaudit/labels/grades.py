"""Grades: classes in an order, such as A to F, or 1 to 5 stars; the user says in which."""

from __future__ import annotations

from dataclasses import replace

from dataaudit.labels.classes import CLASSES

GRADES = replace(CLASSES, ordered=True, probed=False, refitted=False)
