"""All checks, in the order in which they run and stand on the page."""

from __future__ import annotations

from dataaudit.checks.check import Check
from dataaudit.checks.drift import Drift
from dataaudit.checks.duplicates import Duplicates
from dataaudit.checks.imbalance import Imbalance
from dataaudit.checks.labels import Labels
from dataaudit.checks.later import Later
from dataaudit.checks.leaks import Leaks
from dataaudit.checks.missing import Missing
from dataaudit.checks.odd_pictures import OddPictures
from dataaudit.checks.order import Order
from dataaudit.checks.outliers import Outliers
from dataaudit.checks.passages import Passages
from dataaudit.checks.shortcuts import Shortcuts
from dataaudit.checks.slices import Slices
from dataaudit.checks.target_leak import TargetLeak

CHECKS: list[Check] = [
    Labels(),
    Leaks(),
    TargetLeak(),
    Later(),
    Passages(),
    Shortcuts(),
    Duplicates(),
    Missing(),
    Imbalance(),
    Drift(),
    Order(),
    Outliers(),
    OddPictures(),
    Slices(),
]
