"""The ladder of matrix products: ``matmul`` (``api.py``), its rungs, and which variant ``packed`` takes."""

from numbasgd.matmul.api import matmul
from numbasgd.matmul.gemm.plan import Plan, matmul_plan
from numbasgd.matmul.rungs import RUNGS, Rung

__all__ = ["RUNGS", "Plan", "Rung", "matmul", "matmul_plan"]
