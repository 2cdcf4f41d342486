"""``curator filter``: any text source in, kept and rejected shards out, with a manifest written last.

The same command again goes on where an interrupted one stopped, and does nothing when it is finished; another job into the same
folder is refused. ``--from-scores`` selects again from the scores of a finished job, without a model. ``--prepare`` and
``--part`` let the array of a batch system score a job: the same command with the one, then with each part, then with neither.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from curator.cli import options, scorers
from curator.cli.console import FilterMeter, remark, say
from curator.cli.filter_output import show_filtered
from curator.cli.partners import refuse_beside, require_partners
from curator.errors import ConfigError

if TYPE_CHECKING:
    from curator.filtering.engines import Engine
    from curator.filtering.output import OutputOptions
    from curator.filtering.policy import Policy
    from curator.filtering.request import FilterRequest
    from curator.filtering.tally import FilterReport

_PARTNERS = {
    "window_rule": ("window", "from_scores"),
    "cascade_recall": ("cascade",),
    "cascade_sample": ("cascade",),
    "prevalence": ("precision",),
    "seed": ("soft",),
}
_OF_SCORING = (
    "sources", "neuron_set", "remote", "model", "method", "max_depth", "device", "dtype", "window", "decontaminate", "cascade",
    "piece_size", "prepare", "part", "text_field", "id_field", "domain_field", "source_field",
)  # fmt: skip
Window = Literal["document_mean", "document_max", "window"]


def filter_(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="A new folder for the output.", metavar="DIR")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help="JSONL (.gz, .zst), Parquet, a folder, a glob, s3://..., hf:NAME, env:DOMAIN, or - for stdin.",
        ),
    ] = None,
    neuron_set: scorers.NeuronSetPlace = None,
    from_scores: Annotated[
        Path | None, typer.Option(help="Select again from the scores of this finished output.", metavar="DIR")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep documents that score at least this.")] = None,
    keep_fraction: Annotated[float | None, typer.Option(help="Keep this fraction of the documents, the best.")] = None,
    token_budget: Annotated[str | None, typer.Option(help="Keep the best within so many tokens, e.g. 16M.")] = None,
    precision: Annotated[
        float | None, typer.Option(help="Keep by the threshold that is certified to reach this precision.")
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Keep by the threshold that is certified to reach this recall.")
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of the target in the pool, for --precision, where it is known.")
    ] = None,
    by: Annotated[Literal["probability", "value"], typer.Option(help="Calibrated or raw score.")] = "probability",
    mix: Annotated[
        list[str] | None,
        typer.Option(help="A target domain and its weight in the token budget; repeat.", metavar="DOMAIN=WEIGHT"),
    ] = None,
    soft: Annotated[float, typer.Option(help="Width of a zone around the cut in which documents are drawn.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of that draw.", min=0)] = 0,
    drop_duplicates: Annotated[bool, typer.Option(help="Of documents with one text keep the best.")] = False,
    near_duplicates: Annotated[
        float | None, typer.Option(help="Of documents that are this similar keep the best, e.g. 0.8.")
    ] = None,
    decontaminate: Annotated[
        list[str] | None,
        typer.Option(help="Drop documents that share text with this evaluation file; repeat.", metavar="FILE"),
    ] = None,
    window: Annotated[int, typer.Option(help="Score longer documents in windows of so many characters.", min=0)] = 0,
    window_rule: Annotated[
        Window, typer.Option(help="Decide a document by its windows' mean or maximum, or each window alone.")
    ] = "document_mean",
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Stop hopeless documents by a prefilter that is learned from a sample.")
    ] = False,
    cascade_recall: Annotated[
        float,
        typer.Option(help="Share of what the model would keep that the prefilter must pass, with 95 % confidence."),
    ] = 0.99,
    cascade_sample: Annotated[str, typer.Option(help="Documents of the sample; rare targets need more.")] = "60k",
    domain: scorers.Domain = None,
    method: scorers.Method = None,
    model: scorers.Model = None,
    max_depth: scorers.MaxDepth = None,
    remote: scorers.Remote = None,
    token: scorers.Token = "",
    tls: scorers.Tls = False,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="jsonl (zstd), parquet or arrow (these two keep the columns of Parquet and Arrow inputs); repeat.",
        ),
    ] = None,
    rejected: Annotated[bool, typer.Option(help="Write the rejected documents too, with their reasons.")] = False,
    shard_size: Annotated[str, typer.Option(help="Size of a shard before compression.")] = "128MiB",
    piece_size: Annotated[str, typer.Option(help="About how much input is one step of the job.")] = "64MiB",
    workers: Annotated[int, typer.Option(help="Processes, each with a model of its own.", min=1)] = 1,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Processes here, or a Ray cluster.")] = "local",
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only cut the input and write the plan, for --part.")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(help="Only score this part of a prepared job, the second of eight for example.", metavar="2/8"),
    ] = None,
    text_field: options.TextField = "text",
    id_field: options.IdField = "id",
    domain_field: options.DomainField = "domain",
    source_field: options.SourceField = "source",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Keep the documents of a source that a neuron set speaks for; run it again to go on after an interruption."""
    from curator.filtering.cascade_plan import CascadeOptions
    from curator.filtering.output import OutputOptions, is_finished
    from curator.filtering.policy import Policy
    from curator.offline import dataset_request, engine_of
    from curator.text.rows import SourceOptions
    from curator.text.uris import absolute

    scorers.require_sense(context)
    require_partners(context, _PARTNERS)
    refuse_beside(context, "from_scores", _OF_SCORING, "which scores nothing and reads the sources as before")
    refuse_beside(context, "mix", ("domain",), "which names the domains")
    wanted = ""
    if precision is not None or recall is not None:
        if threshold is not None or from_scores or remote or neuron_set is None or by != "probability":
            raise ConfigError(
                "A wanted precision or recall needs --neuron-set, and neither a threshold nor raw values."
            )
        chosen = scorers.threshold_for(neuron_set, domain, method, max_depth, precision, recall, prevalence)
        remark(chosen.sentence)
        threshold, wanted = chosen.threshold, f"{chosen.wanted} {precision or recall}"
    elif not mix and not from_scores and sum(one is not None for one in (threshold, keep_fraction, token_budget)) != 1:
        raise ConfigError(
            "Say how much to keep by exactly one of --threshold, --keep-fraction, --token-budget, --precision and --recall."
        )
    budget = options.parse_count(token_budget) if token_budget else None
    shares = tuple(_share(text) for text in mix or ())
    policy = Policy(
        threshold=threshold,
        keep_fraction=keep_fraction,
        token_budget=budget,
        field=by,
        target="" if shares else domain or "",
        targets=shares,
        soft_width=soft,
        seed=seed,
        drop_duplicates=drop_duplicates,
        near_duplicates=near_duplicates,
        windows=window_rule,
        wanted=wanted,
    )
    layout = OutputOptions.model_validate(
        {
            "formats": tuple(dict.fromkeys(formats or ["jsonl"])),
            "target_shard_bytes": options.parse_size(shard_size),
            "write_rejected": rejected,
        }
    )
    sample = options.parse_count(cascade_sample)
    prefilter = CascadeOptions(recall=cascade_recall, sample_documents=sample) if cascade else None
    before = is_finished(out)
    if from_scores is not None:
        report = _reselect(from_scores, out, policy, layout, workers, engine)
    else:
        factory = scorers.chosen_scorer(
            neuron_set,
            model=model,
            targets=policy.named_targets,
            method=method,
            max_depth=max_depth,
            device=device,
            dtype=dtype,
            remote=remote,
            token=token,
            tls=tls,
        )
        request = dataset_request(
            [absolute(source) for source in sources or ()],
            factory,
            out,
            policy,
            options=layout,
            source_options=SourceOptions(
                text_field=text_field, id_field=id_field, domain_field=domain_field, source_field=source_field
            ),
            decontaminate=decontaminate or (),
            window_characters=window,
            cascade=prefilter,
            piece_bytes=options.parse_size(piece_size),
        )
        if prepare or part:
            _make_part(request, prepare, part, engine_of(engine, workers))
            return
        report = _filter(request, engine_of(engine, workers))
    if before:
        remark(f"{out} already holds this job, finished; nothing was scored or written")
    show_filtered(report, out)


def _filter(request: FilterRequest, engine: Engine) -> FilterReport:
    """Carry a request out, with a meter on the screen."""
    from curator.filtering.dataset import run_request

    with _resumable(request.out), FilterMeter() as meter:
        report = run_request(request, engine=engine, watch=meter)
    if meter.scored:
        remark(meter.scored)
    return report


def _make_part(request: FilterRequest, prepare: bool, part: str | None, engine: Engine) -> None:
    """What one process of many does: prepare the job, or score a part of it."""
    from curator.filtering import parts
    from curator.shares import Share

    if prepare and part:
        raise ConfigError("A job is prepared before its parts are scored; give --prepare or --part.")
    share = Share.parse(part) if part else None
    with _resumable(request.out), FilterMeter() as meter:
        if share is None:
            pieces = parts.prepare(request, engine=engine, watch=meter)
            say(f"prepared {pieces:,} pieces; next --part 1/N to N/N, then the same command without either")
            return
        report = parts.score_part(request, share, engine=engine, watch=meter)
    say(f"{share}: {report.pieces:,} pieces, {report.scored:,} of them scored now")


def _reselect(
    finished: Path, out: Path, policy: Policy, layout: OutputOptions, workers: int, engine: Literal["local", "ray"]
) -> FilterReport:
    from curator.offline import reselect_dataset

    with _resumable(out), FilterMeter() as meter:
        return reselect_dataset(finished, out, policy, options=layout, workers=workers, engine=engine, watch=meter)


@contextmanager
def _resumable(out: Path) -> Generator[None, None, None]:
    """Says on Ctrl-C how the job goes on."""
    try:
        yield
    except KeyboardInterrupt:
        remark(f"what is done is kept in {out}.work; the same command goes on from there")
        raise


def _share(text: str) -> Any:
    from curator.filtering.policy import TargetShare

    name, separator, weight = text.rpartition("=")
    if not (separator and name):
        raise ConfigError(f"{text!r} names no domain and weight; write for example --mix law=2 --mix medicine=1.")
    try:
        return TargetShare(name=name, weight=float(weight))
    except ValueError as error:
        raise ConfigError(f"{weight!r} in --mix {text} is no number; write for example --mix law=2.") from error
