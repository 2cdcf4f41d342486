"""What a URI means, and which mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from curator.errors import ConfigError
from curator.text.folders import find_files
from curator.text.splits import Split
from curator.text.uris import Scheme, absolute, anchored, canonical, parse_uri


@pytest.mark.parametrize(
    ("uri", "scheme", "location", "query"),
    [
        ("data/pool.jsonl.zst", Scheme.FILE, "data/pool.jsonl.zst", {}),
        ("file:///data/a%20b.parquet", Scheme.FILE, "/data/a b.parquet", {}),
        ("part-?.jsonl", Scheme.FILE, "part-?.jsonl", {}),
        ("part-?.jsonl?split=pool", Scheme.FILE, "part-?.jsonl", {"split": "pool"}),
        ("hf:org/name?config=en&split=train%5B:9%5D", Scheme.HUB, "org/name", {"config": "en", "split": "train[:9]"}),
        ("hf:org/name?config=&split=&revision=", Scheme.HUB, "org/name", {}),
        ("env:python?max_chars=10&seed=3", Scheme.EMBEDDED, "python", {"max_chars": "10", "seed": "3"}),
        ("s3://bucket/part-?.jsonl", Scheme.REMOTE, "s3://bucket/part-?.jsonl", {}),
        ("hf://datasets/o/n/x.parquet?split=test", Scheme.REMOTE, "hf://datasets/o/n/x.parquet", {"split": "test"}),
        ("-?split=test", Scheme.STDIN, "-", {"split": "test"}),
    ],
)
def test_a_uri_is_read_into_its_parts(uri: str, scheme: Scheme, location: str, query: dict[str, str]) -> None:
    parsed = parse_uri(uri)
    assert (parsed.scheme, parsed.location, dict(parsed.query)) == (scheme, location, query)
    assert parse_uri(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nosuch://bucket/x.jsonl", "use a path"),
        ("s3://", "names nothing"),
        ("zip://x.jsonl::s3://bucket/a.zip", "Chained"),
        ("memory://x.jsonl?split=validation", "train, pool, test"),
        ("hf:", "names nothing"),
        ("x.jsonl?splt=train", "unknown option 'splt'"),
        ("x.jsonl?split=validation", "train, pool, test"),
        ("env:python?config=x", "it takes: max_chars, part, seed, split"),
        ("data/saved?part=validation", "train, pool, test"),
        ("hf:x?part=validation", "train, pool, test"),
        ("-?split=train&part=test", "give part= alone"),
        ("x.parquet?split=train&part=train", "give part= alone"),
    ],
)
def test_a_wrong_uri_is_refused_with_what_would_be_right(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "https://host/x.jsonl?X-Amz-Signature=hush",
        "https://host/x.jsonl?token=hush",
        "https://host/x.jsonl?split=train&token=hush",
        "ftp://me:hush@host/x.jsonl",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(uri: str) -> None:
    with pytest.raises(ConfigError, match="by the environment") as refused:
        parse_uri(uri)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("location", ["a.jsonl", "a?b=c.jsonl", "hf:x/a b.jsonl", "-x.jsonl", "a%20[1].parquet"])
def test_the_uri_of_one_found_file_leads_to_it_again(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(location).parent.mkdir(exist_ok=True)
    Path(location).touch()
    again = parse_uri(parse_uri("*?split=pool").at(location))
    assert again.query == {"split": "pool"}
    assert [path.absolute() for path in find_files(again.location)] == [tmp_path / location]


def test_split_and_part_mean_our_split_except_that_the_hub_has_splits_of_its_own() -> None:
    assert parse_uri("x.jsonl?part=pool").hash_split is Split.POOL
    assert parse_uri("hf:x?split=validation&part=pool").hash_split is Split.POOL
    assert parse_uri("x.jsonl?split=pool").hash_split is Split.POOL
    assert parse_uri("hf:x?split=train").hash_split is None
    assert parse_uri("x.jsonl").hash_split is None


def test_numbers_in_a_query_are_checked() -> None:
    assert parse_uri("env:python?seed=7").integer("seed", 0) == 7
    with pytest.raises(ConfigError, match="whole number"):
        parse_uri("env:python?seed=-1").integer("seed", 0)


def test_an_absolute_uri_survives_another_working_folder_and_all_others_stay_to_the_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = [absolute(uri) for uri in ("a/x.jsonl?split=pool", "hf:./local", "part-?.jsonl")]
    assert found[:2] == [f"{tmp_path}/a/x.jsonl?split=pool", f"hf:{tmp_path}/local"]
    assert parse_uri(found[2]).location == f"{tmp_path}/part-?.jsonl"
    for uri in ("/x/../a.jsonl", "file:///x/a%20b.jsonl", "~/a.jsonl", "hf:org/x", "env:python", "-", "s3://b/x.jsonl"):
        assert absolute(uri) == uri


def test_spellings_of_one_path_have_one_canonical_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    spellings = ("a/*.jsonl", "./a/../a/*.jsonl", f"{tmp_path}/link/*.jsonl", f"file://{tmp_path}/a/*.jsonl")
    assert {canonical(uri) for uri in spellings} == {f"{tmp_path.resolve()}/a/*.jsonl"}
    assert canonical("hf:org/x?split=train") == "hf:org/x?split=train"


def test_relative_paths_are_anchored_and_names_are_not() -> None:
    folder = Path("/specs")
    assert anchored("a.jsonl?split=pool", folder) == "/specs/a.jsonl?split=pool"
    assert anchored("hf:./local", folder) == "hf:/specs/local"
    assert [anchored(uri, folder) for uri in ("/x/a.jsonl", "hf:org/x", "env:python", "-")] == [
        "/x/a.jsonl",
        "hf:org/x",
        "env:python",
        "-",
    ]
