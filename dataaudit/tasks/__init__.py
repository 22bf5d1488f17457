"""Tasks: what a model's outputs mean, and the loss of each row. One file for each task."""

from dataaudit.tasks.classification import Classification
from dataaudit.tasks.multi_label import MultiLabel
from dataaudit.tasks.regression import Regression
from dataaudit.tasks.task import AuditTask, Task
from dataaudit.tasks.token_classification import TokenClassification

__all__ = [
    "AuditTask",
    "Classification",
    "MultiLabel",
    "Regression",
    "Task",
    "TokenClassification",
]
