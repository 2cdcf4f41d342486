"""The bytes of what a job has written, for download from any offset.

Only files that the job lists can be read, under the very names that it lists, and only while they are below the folder that the
job wrote to. A file that changed its size is refused; its content is the client's to check, against the SHA-256 that the job
states. Reading is thread work, one piece at a time, so a slow reader holds one piece in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from curator.api.v1 import jobs_pb2
from curator.errors import ArtifactError, ArtifactNotFoundError, ConfigError
from curator.files import inside
from curator_server.jobs.store import Store
from curator_server.jobs.threads import Threads

PIECE_BYTES = 1 << 20


async def pieces(
    store: Store, threads: Threads, request: jobs_pb2.DownloadArtifactRequest
) -> AsyncIterator[jobs_pb2.DownloadArtifactResponse]:
    """The wanted bytes in order, at most 1 MiB at a time, each with its CRC-32.

    Raises JobNotFoundError, ArtifactNotFoundError for a name that the job does not list, ConfigError for an offset beyond the
    end, ArtifactError when the file is gone or has another size.
    """
    listed = await threads.database(store.artifact, request.job, request.artifact)
    place = await threads.database(store.place, request.job)
    if listed is None or not place:
        raise ArtifactNotFoundError(f"{request.job} has no artifact {request.artifact!r}; GetJob lists those it has.")
    if request.read_offset > listed.byte_size:
        raise ConfigError(f"{request.artifact!r} has {listed.byte_size} bytes; read_offset lies beyond its end.")
    end = min(listed.byte_size, request.read_offset + (request.read_limit or listed.byte_size))
    handle = await threads.files(_open, Path(place), listed)
    try:
        offset = request.read_offset
        while offset < end:
            data = await threads.files(_read, handle, offset, min(PIECE_BYTES, end - offset))
            if not data:
                raise ArtifactError(f"{request.artifact!r} is shorter than it was; run the job again.")
            yield jobs_pb2.DownloadArtifactResponse(data=data, offset=offset, crc32=zlib.crc32(data))
            offset += len(data)
    finally:
        await threads.files(handle.close)


def _open(place: Path, listed: jobs_pb2.Artifact) -> IO[bytes]:
    gone = ArtifactError(f"The artifact {listed.name!r} is not what the job wrote; run the job again.")
    try:
        path = inside(place, listed.name)
        handle = path.open("rb")
    except (OSError, ConfigError) as error:
        raise gone from error
    if path.stat().st_size != listed.byte_size:
        handle.close()
        raise gone
    return handle


def _read(handle: IO[bytes], offset: int, size: int) -> bytes:
    handle.seek(offset)
    return handle.read(size)
