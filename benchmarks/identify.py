"""Identification: what an atlas and a match cost, against forward passes and the paper's algorithm, and whether they are right.

    python benchmarks/identify.py [--quick] [--json FILE] [--only SECTION]

Every value is a ratio within one run or a count. Sections and their rows:
  atlas-zoo    atlas_over_forward_zoo
  atlas-true   atlas_over_forward_true_size
  two-pass     speedup_over_two_pass
  recall       sketch_recall, sketch_extra, held_back_recall, held_back_extra, shared_spans_jaccard
  growth       rss_growth, time_growth_spans, time_growth_neurons, time_growth_workers
  forward      forward_over_plain_loop, forward_over_plain_loop_bf16
"""

from __future__ import annotations

from benchmarks.atlas_pass import true_size_rows, zoo_rows
from benchmarks.forward import forward_rows
from benchmarks.growth import growth_rows
from benchmarks.harness import Section, run_benchmark
from benchmarks.recall import recall_rows
from benchmarks.speedup import speedup_rows

SECTIONS: dict[str, Section] = {
    "atlas-zoo": zoo_rows,
    "atlas-true": true_size_rows,
    "two-pass": speedup_rows,
    "recall": recall_rows,
    "growth": growth_rows,
    "forward": forward_rows,
}

if __name__ == "__main__":
    run_benchmark("identify", __doc__ or "", SECTIONS)
