"""What a fold scheme that is not known was probably meant to be."""

from __future__ import annotations

from comp.data.folds.schemes import FOLD_SCHEMES
from comp.registry import unknown

ALIASES = {  # what other tools call a scheme
    "leave_one_group_out": "logo", "leaveonegroupout": "logo", "leave_one_out": "logo", "lopo": "logo",
    "groupkfold": "group", "group_kfold": "group", "k_fold": "kfold", "random": "kfold",
    "shuffle": "kfold", "stratifiedkfold": "stratified", "stratified_kfold": "stratified",
    "stratifiedgroupkfold": "stratified_group", "stratified_group_kfold": "stratified_group",
    "group_stratified": "stratified_group", "iterative_stratification": "iterative",
    "multilabel_stratified": "iterative", "timeseries": "time", "time_series": "time",
    "time_series_split": "time", "timeseriessplit": "time", "holdout": "split", "hold_out": "split",
    "train_test_split": "split", "train_val_test": "split", "fixed": "predefined",
    "official": "predefined",
}  # fmt: skip


def unknown_scheme(name: str) -> str:
    """Say that there is no such scheme, with the one that is meant, or all."""
    meant = ALIASES.get(name.lower().replace("-", "_").replace(" ", "_"))
    if meant is not None:
        return f"unknown fold scheme {name!r}; here it is called {meant!r}"
    return unknown(name, FOLD_SCHEMES, "fold scheme")
