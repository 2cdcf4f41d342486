"""How a job changes: edits of one job, each told what it may not do. Pure functions on messages; keeping them is the store's.

An edit says False when there is nothing to change, and then there is no revision.
"""

from __future__ import annotations

from curator.api.v1 import jobs_pb2
from curator.errors import CuratorError, JobError, all_error_classes
from curator.orders import Failure, Step
from curator_server.jobs.places import public_message
from curator_server.jobs.store import Job


def error_of(status: int, failure: Failure | None) -> CuratorError:
    """Why a worker ended that did not succeed, by what it said or by its exit status."""
    if failure is not None:
        classes = {cls.code: cls for cls in all_error_classes()}
        return classes.get(failure.code, CuratorError)(failure.message)
    if status < 0:
        return JobError(
            f"The job's process was ended by signal {-status}, often for lack of memory; create the job again, with less text."
        )
    return CuratorError(f"The worker ended with status {status}.")


def start(job: Job) -> bool:
    """A worker begins; only a job that waits may."""
    if job.state != Job.STATE_PENDING:
        return False
    job.state = Job.STATE_RUNNING
    if not job.HasField("start_time"):
        job.start_time.GetCurrentTime()
    return True


def requeue(job: Job) -> bool:
    """The job waits again, for this or the next server."""
    if job.state != Job.STATE_RUNNING:
        return False
    job.state = Job.STATE_PENDING
    return True


def cancel(job: Job, expires: float) -> bool:
    """Somebody asked the job to stop: one that waits has ended, one that runs will; ``expires`` in seconds of the epoch."""
    if job.state == Job.STATE_PENDING:
        ended(job, Job.STATE_CANCELLED, expires)
        return True
    if job.state == Job.STATE_RUNNING:
        job.state = Job.STATE_CANCELLING
        return True
    return False


def ended(job: Job, state: Job.State, expires: float) -> None:
    """The job has ended and is kept until ``expires``, in seconds of the epoch."""
    job.state = state
    job.end_time.GetCurrentTime()
    job.expire_time.FromSeconds(int(expires))


def progress(job: Job, step: Step) -> bool:
    """The worker is at a step; False when that is nothing new."""
    now = jobs_pb2.Progress(
        done=step.done,
        total=step.total,
        unit=step.unit,
        stage=public_message(step.stage),
        checkpointed=step.checkpointed,
    )
    if job.progress == now:
        return False
    job.progress.CopyFrom(now)
    return True
