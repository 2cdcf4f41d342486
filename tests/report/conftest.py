"""A report's inputs, invented and labelled as such in their title."""

import math
from itertools import pairwise

import pytest

from curator.report.inputs import (
    CalibrationBin,
    Certificate,
    Context,
    DomainHistogram,
    FileEntry,
    FilterResult,
    ModelRef,
    NeuronEntry,
    PeerMatch,
    PrecisionRecallPoint,
    ProbeSummary,
    ReportInputs,
    RosettaSummary,
    ScorerEntry,
)
from curator.scaling.points import NullCounts, Study, StudyPoint

HOSTILE = 'grant </pre></style><script>alert("x")</script> & <img src=x onerror=alert(1)> license'
DOMAINS = ("legal", "python", "prose", "cpp", "poems", "recipes & <b>more</b>")


def invented_study() -> Study:
    sizes = [
        ("32x2", 256, 31, 12),
        ("64x2", 512, 49, 21),
        ("96x3", 1152, 88, 40),
        ("128x4", 2048, 121, 66),
        ("192x6", 4608, 214, 131),
    ]
    points = tuple(
        StudyPoint(
            label=label,
            anchor=f"neox-{label}",
            peers=(f"gpt2-{label}", f"opt-{label}"),
            neurons_anchor=n,
            neurons_mean=n,
            paper=paper,
            strict=strict,
            universal=strict // 3,
            mean_correlation=0.4 + 0.02 * i,
            half_jaccard=0.6 + 0.03 * i,
            spans=250_000,
            tokens=400_000,
            decoy_derangement=NullCounts(paper=2 + i, strict=0),
            decoy_rotation=NullCounts(paper=i, strict=0),
            untrained=3,
        )
        for i, (label, n, paper, strict) in enumerate(sizes)
    )
    return Study(
        points=points, probe_fingerprint="c0ffee" * 10 + "c0ff", seeds={"probe": 11}, created="2026-11-22T12:00:00Z"
    )


def invented_neuron(number: int) -> NeuronEntry:
    edges = tuple(round(-2 + 0.25 * i, 2) for i in range(33))
    centres = [(a + b) / 2 for a, b in pairwise(edges)]
    rows = {
        domain: tuple(
            int(
                900
                * math.exp(-((c - (2.6 if d == 0 else 0.25 * math.sin(d + number))) ** 2) / (1.6 if d == 0 else 0.5))
            )
            for c in centres
        )
        for d, domain in enumerate(DOMAINS)
    }
    words = (
        "This",
        " License",
        " shall",
        " be",
        " construed",
        " under",
        " the",
        " laws",
        " of",
        " the",
        " State",
        ",\n",
        "  without",
    )
    tokens = tuple((word, round(2.9 * abs(math.sin(0.7 * i + number)) - 0.4, 3)) for i, word in enumerate(words * 3))
    contexts = [
        Context(text="".join(w for w, _ in tokens), tokens=tokens, domain="legal", value=2.5 - 0.1 * k)
        for k in range(4)
    ]
    hostile = Context(text=HOSTILE, tokens=((HOSTILE, 2.0), (" end", -0.6)), domain="<script>", value=2.0)
    return NeuronEntry(
        id=f"L{number}/U{17 * number + 300}",
        domain="legal",
        auroc_choose=0.985 - 0.01 * number,
        auroc_report=0.9725 - 0.011 * number,
        ap_report=0.88 - 0.02 * number,
        matches=(
            PeerMatch(peer="gpt2-128x4", neuron="L2/U40", rho=0.7331, standard_error=0.0123, q=0.0009),
            PeerMatch(peer="opt-128x4", neuron="L1/U222", rho=-0.6119, standard_error=0.0171),
        ),
        histogram=DomainHistogram(edges=edges, counts=rows),
        contexts=(contexts[0], hostile, *contexts[1:]),
    )


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    return ReportInputs(
        title="TEST PAGE, numbers invented",
        created="2026-11-22 12:00 UTC",
        target_domain="legal",
        model=ModelRef(name="neox-128x4", fingerprint="ab" * 32),
        peers=(ModelRef(name="gpt2-128x4", fingerprint="cd" * 32), ModelRef(name="opt-128x4", fingerprint="ef" * 32)),
        probe=ProbeSummary(
            fingerprint="c0ffee" * 10 + "c0ff", spans={domain: 41_237 + 10 * i for i, domain in enumerate(DOMAINS)}
        ),
        seeds={"probe": 11, "null": 5},
        versions={"rosetta-curator": "0.1.0", "torch": "2.13.0"},
        study=invented_study(),
        rosetta=RosettaSummary(
            neurons=2048,
            paper=121,
            strict=66,
            universal=22,
            mean_correlation=0.4612,
            half_jaccard=0.69,
            decoy_derangement=NullCounts(paper=5, strict=0),
            decoy_rotation=NullCounts(paper=3, strict=0),
            certificate=Certificate(pairs=256, worst_difference=0.0041),
        ),
        neuron_set=tuple(invented_neuron(number) for number in range(3)),
        scorers=(
            ScorerEntry(name="single", validation_ap=0.861, test_ap=0.853, test_auroc=0.9713),
            ScorerEntry(name="linear", validation_ap=0.967, test_ap=0.961, test_auroc=0.9934, chosen=True),
            ScorerEntry(name="signature", validation_ap=0.931, test_ap=0.928, test_auroc=0.9871),
        ),
        calibration=tuple(
            CalibrationBin(
                predicted=0.05 + 0.1 * i,
                observed=min(1, max(0, 0.02 + 0.1 * i + 0.03 * (-1) ** i)),
                count=400 // (i + 1),
            )
            for i in range(10)
        ),
        filter=FilterResult(
            pool=2100,
            kept=132,
            oracle=130,
            precision=0.947,
            recall=0.9615,
            f1=0.9542,
            threshold=0.4377,
            tokens=812_345,
            tokens_per_second=43_210.7,
        ),
        precision_recall=tuple(
            PrecisionRecallPoint(
                recall=i / 40,
                precision=min(1.0, 1.005 - 0.06 * (i / 40) ** 6 - (0.6 if i == 40 else 0)),
                threshold=1 - i / 41,
            )
            for i in range(1, 41)
        ),
        files=(
            FileEntry(path="kept/part-00000.jsonl.zst", bytes=181_234, sha256="12" * 32, records=132),
            FileEntry(path="manifest.json", bytes=2_101),
        ),
    )


@pytest.fixture(scope="session")
def bare() -> ReportInputs:
    return ReportInputs(target_domain="legal", model=ModelRef(name="neox-128x4"))
