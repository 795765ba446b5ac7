"""Labelled texts and the area under the ROC curve, for the benches of scores."""

from etl.kernels.ranking import Auc, auc, auc_interval
from etl.labelled import QUALITY, TOXICITY, Labelled, labelled, rows

__all__ = ["QUALITY", "TOXICITY", "Auc", "Labelled", "auc", "auc_interval", "labelled", "rows"]
