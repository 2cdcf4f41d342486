"""The report's sections from its inputs: which figures and tables each has, and the sentence that says how to read it.

Neurons and sample documents have sections of their own kind on the page and are not here; everything else is a ``Panel``.
What was not measured gives a panel without figures and tables. Cost: that of the figures, some 0.15 s each.
"""

from __future__ import annotations

from curator.report import figures
from curator.report.derived import Derived
from curator.report.drawing import Drawing
from curator.report.findings import Findings
from curator.report.inputs import FilterResult, ReportInputs, RosettaSummary
from curator.report.panels import Column, Panel, Table, Value

_BILLION = 1_000_000_000


def matches_panel(inputs: ReportInputs, derived: Derived) -> Panel:
    """Shared neurons beside their nulls."""
    found = inputs.rosetta
    return Panel(
        anchor="matches",
        title="Shared neurons, and how many chance would give",
        how="A neuron is matched when it and a neuron of another model are each other's closest partner over the same text. "
        "The hollow bars run the same search on scrambled data: what they find is chance.",
        drawings=(figures.matches_figure(found),) if found else (),
        caption="Paper rule: mutual nearest neighbours, no threshold. Strict rule: of these, q at most 0.01 against both nulls "
        "and found again in both halves of the text.",
        tables=_matches_tables(inputs, found, derived) if found else (),
    )


def _matches_tables(inputs: ReportInputs, found: RosettaSummary, derived: Derived) -> tuple[Table, ...]:
    certificate = found.certificate
    counts = Table(
        f"Neurons of {inputs.model.name} matched in every peer",
        (Column("search", "text"), Column("paper rule", "count"), Column("strict rule", "count")),
        (
            ("real text", found.paper, found.strict),
            ("null: deranged documents", found.decoy_derangement.paper, found.decoy_derangement.strict),
            ("null: rotated layers", found.decoy_rotation.paper, found.decoy_rotation.strict),
        ),
    )
    shares = _named(
        "Shares",
        "share",
        1,
        (
            ("of the neurons, matched by the paper rule", derived.rosetta_fraction),
            ("of these, as many as chance gives", derived.chance_share),
        ),
    )
    checks = _named(
        "How far to trust the matching",
        "number",
        3,
        (
            ("neurons searched", found.neurons),
            ("universal: excess correlation above 0.5", found.universal),
            ("mean correlation of the matches", found.mean_correlation),
            ("agreement of two half-corpora (Jaccard)", found.half_jaccard),
            ("sampled sums recomputed in float64", certificate.pairs if certificate else None),
            ("worst difference among them", certificate.worst_difference if certificate else None),
        ),
    )
    return counts, shares, checks


def thresholds_panel(inputs: ReportInputs, derived: Derived) -> Panel:
    """What each threshold keeps of the held-out documents."""
    held_out = inputs.held_out
    remarks = ()
    if held_out is not None:
        remarks = (
            f"Measured on {held_out.documents:,} held-out documents of the probe corpus, {derived.held_out_prevalence:.1%} of "
            "them on target. In a pool with another share of the target, precision and the share that is kept are others; "
            "recall is not.",
        )
    return Panel(
        anchor="thresholds",
        title="What each threshold keeps",
        how="Precision is the share of what is kept that is on target; recall is the share of the target that is kept. Move "
        "right to keep less and be surer of it.",
        drawings=(figures.thresholds_figure(derived.operating),) if derived.operating else (),
        caption="Bands are 95% intervals.",
        tables=_operating_tables(inputs, derived) if derived.operating else (),
        remarks=remarks,
    )


def _operating_tables(inputs: ReportInputs, derived: Derived) -> tuple[Table, ...]:
    columns = (
        Column("threshold", "number", 2),
        Column("documents kept", "share", 1),
        Column("tokens kept", "share", 1),
        Column("tokens kept of a billion", "count"),
        Column("precision", "share", 1),
        Column("95% interval", "share interval", 1),
        Column("recall", "share", 1),
        Column("95% interval of recall", "share interval", 1),
    )
    rows = tuple(
        (
            row.threshold,
            row.document_share,
            row.token_share,
            None if row.token_share is None else round(_BILLION * row.token_share),
            row.precision,
            row.precision_interval,
            row.recall,
            row.recall_interval,
        )
        for row in derived.operating
    )
    counted = inputs.held_out.kept if inputs.held_out else ()
    counts = Table(
        "The same in counts",
        (
            Column("threshold", "number", 2),
            Column("documents kept", "count"),
            Column("of them on target", "count"),
            Column("tokens kept", "count"),
        ),
        tuple((kept.threshold, kept.documents, kept.on_target, kept.tokens) for kept in counted),
    )
    return Table("What each threshold keeps", columns, rows), counts


def quality_panel(inputs: ReportInputs, derived: Derived) -> Panel:
    """Precision against recall, calibration, depth, and the scorers."""
    drawings: list[Drawing] = []
    if inputs.precision_recall:
        chosen = _operating_point(inputs.filter)
        drawings.append(figures.precision_recall_figure(inputs.precision_recall, chosen, _prevalence(inputs, derived)))
    if inputs.calibration:
        drawings.append(figures.calibration_figure(inputs.calibration))
    if any(entry.average_precision is not None for entry in inputs.depths):
        drawings.append(figures.depth_figure(inputs.depths))
    return Panel(
        anchor="quality",
        title="How good the score is",
        how="On documents that decided nothing. Honest probabilities lie on the dashed diagonal: of documents scored 80%, eight "
        "in ten should be on target. Depth says what is lost by reading fewer layers.",
        drawings=tuple(drawings),
        caption="Larger points of the calibration hold more documents.",
        tables=_quality_tables(inputs),
    )


def _quality_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    tables = []
    if inputs.scorers:
        tables.append(
            Table(
                "Ways to score a document; validation average precision (AP) chooses",
                (
                    Column("scorer", "text"),
                    Column("validation AP"),
                    Column("held-out AP"),
                    Column("held-out AUROC"),
                    Column("", "text"),
                ),
                tuple(
                    (s.name, s.validation_ap, s.test_ap, s.test_auroc, "chosen" if s.chosen else "")
                    for s in inputs.scorers
                ),
            )
        )
    if inputs.calibration:
        tables.append(
            Table(
                "Calibration",
                (Column("predicted"), Column("observed"), Column("documents", "count")),
                tuple((one.predicted, one.observed, one.count) for one in inputs.calibration),
            )
        )
    if inputs.depths:
        tables.append(
            Table(
                "Quality by the layers read; the last row is the whole set",
                (
                    Column("layers", "count"),
                    Column("of all layers", "share", 0),
                    Column("neurons", "count"),
                    Column("scorer", "text"),
                    Column("held-out AP"),
                ),
                tuple((d.depth, d.share_of_layers, d.neurons, d.scorer, d.average_precision) for d in inputs.depths),
            )
        )
    if inputs.precision_recall:
        tables.append(
            Table(
                "Precision and recall",
                (Column("threshold"), Column("recall"), Column("precision")),
                tuple((point.threshold, point.recall, point.precision) for point in inputs.precision_recall),
            )
        )
    return tuple(tables)


def run_panel(inputs: ReportInputs, derived: Derived) -> Panel:
    """What a filter run kept of a pool with known labels."""
    result = inputs.filter
    tables: list[Table] = []
    if result is not None:
        tables = [_run_counts(result), _run_shares(result, derived)]
    if inputs.files:
        tables.append(
            Table(
                "Files written",
                (
                    Column("file", "text"),
                    Column("records", "count"),
                    Column("bytes", "count"),
                    Column("SHA-256", "text"),
                ),
                tuple(
                    (file.path, "" if file.records is None else file.records, file.bytes, file.sha256)
                    for file in inputs.files
                ),
            )
        )
    return Panel(
        anchor="filter",
        title="What a run of the filter kept",
        how="A pool of documents whose labels the filter did not see; they are used to judge it afterwards.",
        tables=tuple(tables),
    )


def _run_counts(result: FilterResult) -> Table:
    threshold = () if result.threshold is None else (("score threshold", result.threshold),)
    return _named(
        "The run",
        "number",
        3,
        (
            ("documents in the pool", result.pool),
            ("of the target domain", result.oracle),
            ("kept", result.kept),
            ("F1", result.f1),
            *threshold,
            ("tokens read", result.tokens),
            ("tokens per second", None if result.tokens_per_second is None else round(result.tokens_per_second)),
        ),
    )


def _run_shares(result: FilterResult, derived: Derived) -> Table:
    return Table(
        "Against the labels",
        (Column("", "text"), Column("value", "share", 1), Column("95% interval", "share interval", 1)),
        (
            ("precision", result.precision, derived.precision_interval),
            ("recall", result.recall, derived.recall_interval),
            ("share of the pool kept", derived.kept_fraction, ""),
            ("share of the pool on target", derived.target_fraction, ""),
        ),
    )


def _named(caption: str, kind: str, digits: int, rows: tuple[tuple[str, Value], ...]) -> Table:
    value = Column("value", "share" if kind == "share" else "number", digits)
    return Table(caption, (Column("", "text"), value), rows)


def _operating_point(result: FilterResult | None) -> tuple[float, float] | None:
    if result is None or result.precision is None or result.recall is None:
        return None
    return result.recall, result.precision


def _prevalence(inputs: ReportInputs, derived: Derived) -> float | None:
    return derived.held_out_prevalence if inputs.held_out else derived.target_fraction


def panels_of(inputs: ReportInputs, findings: Findings) -> tuple[Panel, ...]:
    """All panels of a neuron set, in the order of the page; none for the report of a study."""
    if inputs.subject == "study":
        return ()
    derived = findings.derived
    return (
        matches_panel(inputs, derived),
        thresholds_panel(inputs, derived),
        quality_panel(inputs, derived),
        run_panel(inputs, derived),
    )
