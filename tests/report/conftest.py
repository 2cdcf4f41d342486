"""A report's inputs, invented and labelled as such in their title."""

import math

import pytest

from curator.report.inputs import (
    CalibrationBin,
    Certificate,
    DepthEntry,
    FileEntry,
    FilterResult,
    HeldOut,
    KeptAt,
    ModelRef,
    PrecisionRecallPoint,
    ProbeSummary,
    ReportInputs,
    RosettaSummary,
    ScorerEntry,
)
from curator.report.parts import (
    Context,
    DomainHistogram,
    DomainMeasures,
    NeuronEffect,
    NeuronEntry,
    PeerMatch,
    Reading,
    SampleDocument,
)
from curator.scaling.points import NullCounts, Study, StudyPoint

HOSTILE = 'grant </pre></style><script>alert("x")</script> & <img src=x onerror=alert(1)> license'
MODELS = ("neox-128x4", "gpt2-128x4", "opt-128x4")
WORDS = (
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


def invented_reading(model: str, text: str, number: int) -> Reading:
    """Tokens of up to six characters; the first one is not scored."""
    lengths = tuple(min(6, len(text) - at) for at in range(0, len(text), 6))
    z = (None, *(round(9 * math.sin(0.7 * i + number + len(model)) - 0.4, 2) for i in range(1, len(lengths))))
    return Reading(model=model, neuron=f"L1/U{number}", lengths=lengths, z=z)


def invented_context(kind: str, number: int, text: str = "".join(WORDS * 4), domain: str = "legal") -> Context:
    return Context(
        kind=kind,
        document=f"doc-{number}",
        domain=domain,
        text=text,
        span=(4, 12),
        z={"top": 9.25, "middle": 4.5, "near zero": -0.2}[kind] - 0.1 * number,
        readings=tuple(invented_reading(model, text, number) for model in MODELS),
    )


def invented_neuron(number: int, contexts: tuple[Context, ...] | None = None) -> NeuronEntry:
    edges = tuple(round(-2 + 0.25 * i, 2) for i in range(25))
    counts = {
        domain: tuple(
            int(40 * math.exp(-((e - (2.6 if d == 0 else 0.25 * math.sin(d + number))) ** 2))) for e in edges[:-1]
        )
        for d, domain in enumerate(DOMAINS)
    }
    kinds = ("top", "top", "middle", "near zero")
    return NeuronEntry(
        id=f"L{number % 24}/U{17 * number + 300}",
        domain="legal" if number % 5 else "python",
        strict=number % 3 > 0,
        universal=False,
        auroc_choose=max(0.0, 0.985 - 0.0004 * number),
        auroc_report=max(0.0, 0.9725 - 0.00045 * number),
        ap_report=max(0.0, 0.88 - 0.0004 * number),
        d_prime_report=2.5,
        mutual_information_report=0.415,
        counted_contexts=9,
        domains={
            domain: DomainMeasures(
                auroc=0.97 - 0.1 * d,
                average_precision=0.88 - 0.1 * d,
                d_prime=2.5 - 1.5 * d,
                mutual_information=0.41,
                normalized_fire=3.25,
            )
            for d, domain in enumerate(DOMAINS)
        },
        normalized_fire=3.25,
        specialisation=0.5 + 0.0002 * number,
        matches=(
            PeerMatch(
                peer=MODELS[1],
                neuron=f"L2/U{number}",
                rho=0.7331,
                standard_error=0.0123,
                interval=(0.704, 0.7622),
                q=0.0009,
            ),
            PeerMatch(
                peer=MODELS[2],
                neuron="L1/U222",
                rho=-0.6119,
                standard_error=0.0171,
                interval=(-0.6523, -0.5715),
                q=0.002 + 0.00001 * number,
            ),
        ),
        histogram=DomainHistogram(edges=edges, counts=counts),
        contexts=tuple(invented_context(kind, n) for n, kind in enumerate(kinds)) if contexts is None else contexts,
    )


def invented_sample(verdict: str, probability: float, text: str = "".join(WORDS * 3)) -> SampleDocument:
    lengths = tuple(min(5, len(text) - at) for at in range(0, len(text), 5))
    return SampleDocument(
        document=f"held-out-{verdict}",
        domain="legal" if probability > 0.5 else "prose",
        verdict=verdict,
        scorer="linear",
        probability=probability,
        score=4 * probability - 2.03,
        intercept=-0.25,
        tokens=len(lengths) + 40,
        raised=(NeuronEffect(neuron="L1/U317", effect=1.125), NeuronEffect(neuron="L2/U334", effect=0.31)),
        lowered=(NeuronEffect(neuron="L0/U300", effect=-0.0625),),
        text=text,
        lengths=lengths,
        effects=(None, *(round(0.3 * math.sin(i + probability), 5) for i in range(1, len(lengths)))),
        elsewhere=0.125,
    )


@pytest.fixture(scope="session")
def inputs() -> ReportInputs:
    hostile = invented_context("top", 1, HOSTILE, "<script>")
    neurons = (invented_neuron(1), invented_neuron(2, (invented_context("top", 0), hostile)), invented_neuron(4))
    return ReportInputs(
        title="TEST PAGE, numbers invented",
        created="2026-11-22 12:00 UTC",
        target_domain="legal",
        model=ModelRef(name=MODELS[0], fingerprint="ab" * 32),
        peers=(ModelRef(name=MODELS[1], fingerprint="cd" * 32), ModelRef(name=MODELS[2], fingerprint="ef" * 32)),
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
        neuron_set=neurons,
        set_rule="strict",
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
        depths=(
            DepthEntry(depth=1, share_of_layers=0.25, neurons=1, scorer="linear", average_precision=0.71),
            DepthEntry(depth=3, share_of_layers=0.75, neurons=3, scorer="linear", average_precision=0.961),
        ),
        held_out=HeldOut(
            documents=800,
            on_target=160,
            tokens=312_345,
            kept=tuple(
                KeptAt(
                    threshold=t,
                    documents=int(200 * (1 - t) + 90),
                    on_target=int(70 * (1 - t) + 85),
                    tokens=int(81_000 * (1 - t) + 40_007),
                )
                for t in (0.05, 0.25, 0.5, 0.75, 0.95)
            ),
        ),
        samples=(
            invented_sample("clear keep", 0.999),
            invented_sample("just kept", 0.52),
            invented_sample("wrongly dropped", 0.41, HOSTILE),
            invented_sample("clear drop", 0.001),
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
            tokens_per_second=43_211,
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
def many(inputs: ReportInputs) -> ReportInputs:
    """Two thousand neurons, each with eight contexts of two hundred characters that three models read."""
    text = "".join(WORDS * 4)[:200]
    kinds = ("top",) * 4 + ("middle",) * 2 + ("near zero",) * 2
    contexts = tuple(invented_context(kind, n, text) for n, kind in enumerate(kinds))
    return inputs.model_copy(update={"neuron_set": tuple(invented_neuron(n, contexts) for n in range(2_000))})


@pytest.fixture(scope="session")
def bare() -> ReportInputs:
    return ReportInputs(target_domain="legal", model=ModelRef(name="neox-128x4"))
