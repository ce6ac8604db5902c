"""Columns as data frames of the packages that are installed."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any


from ._types import Columns

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Table(ABC):
    """What can be had as a data frame. ImportError names the package that is missing."""

    @abstractmethod
    def _table(self) -> Columns:
        """Columns of equal length; texts as objects, None where unknown."""

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas.DataFrame."""
        return _need("pandas").DataFrame(self._table(), copy=False)

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow.Table."""
        return _need("pyarrow").table(self._table())

    def to_polars(self) -> polars.DataFrame:
        """A polars.DataFrame."""
        columns = self._table()
        return _need("polars").DataFrame({name: c.tolist() if c.dtype == object else c for name, c in columns.items()})


def _need(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ImportError(f"this needs the package {package}, which is not installed", name=package) from None
