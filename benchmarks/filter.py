"""Filtering: what scoring costs beside the forward passes that it cannot do without, what a job adds, what the cascade gains.

    python benchmarks/filter.py [--quick] [--json FILE] [--only SECTION]

Values are ratios within one run, shares, or rates. Sections and their rows:
  forward      filter_over_truncated_forward, filter_over_full_forward, layers_used_fraction
  job          workers_2_over_1, rss_growth, select_from_scores_docs_per_s
  cascade      cascade_speedup_1pct, cascade_recall_1pct
"""

from __future__ import annotations

from benchmarks.filter_cascade import cascade_rows
from benchmarks.filter_forward import forward_rows
from benchmarks.filter_job import job_rows
from benchmarks.harness import Section, run_benchmark

SECTIONS: dict[str, Section] = {"forward": forward_rows, "job": job_rows, "cascade": cascade_rows}

if __name__ == "__main__":
    run_benchmark("filter", __doc__ or "", SECTIONS)
