"""Where requests come from and results go: JSON Lines, CSV, Parquet, Python rows, templates."""

from bydawn.io.forms import RowShape
from bydawn.io.parameters import parse_params
from bydawn.io.schema import load_schema
from bydawn.io.sinks import OutputFormat, check_target, write_results
from bydawn.io.sources import Source, open_source
from bydawn.io.spool import spool_rows
from bydawn.io.template import Template

__all__ = [
    "OutputFormat",
    "RowShape",
    "Source",
    "Template",
    "check_target",
    "load_schema",
    "open_source",
    "parse_params",
    "spool_rows",
    "write_results",
]
