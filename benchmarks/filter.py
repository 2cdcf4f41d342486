"""Filtering: what scoring costs beside the forward passes that it could not do without, and what the cascade gains and loses.

    python benchmarks/filter.py [--quick] [--json FILE] [--only SECTION]

Values are ratios within one run, shares or counts. Sections and their rows:
  forward      filter_over_truncated_forward, filter_over_full_forward, layers_used_fraction
  cascade      cascade_speedup_1pct, cascade_recall_1pct
"""

from __future__ import annotations

from benchmarks.filter_cascade import cascade_rows
from benchmarks.filter_forward import forward_rows
from benchmarks.harness import Section, run_benchmark

SECTIONS: dict[str, Section] = {"forward": forward_rows, "cascade": cascade_rows}

if __name__ == "__main__":
    run_benchmark("filter", __doc__ or "", SECTIONS)
