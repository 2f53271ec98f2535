"""The delivery guarantee of a feed, computed from its definition. No I/O."""

from jobs.feeds.definition import Definition

EXACTLY_ONCE = "exactly once"
WITHIN_LOOK_BACK = "exactly once within the look-back"
LOSS_COUNTED = "loss counted"
LOSS_TIMED = "loss timed"
# The weakest one first: the index is the value of the metric `collector_guarantee`.
GUARANTEES = (LOSS_TIMED, LOSS_COUNTED, WITHIN_LOOK_BACK, EXACTLY_ONCE)


def guarantee(feed: Definition) -> str:
    """One of the four guarantees."""
    if feed.resumable:
        return WITHIN_LOOK_BACK if feed.timed else EXACTLY_ONCE
    return LOSS_COUNTED if feed.dense else LOSS_TIMED


def explain(feed: Definition) -> str:
    """The guarantee and what it rests on, in one line."""
    kept = feed.resume.get("look_back")
    while_kept = f", as long as the server keeps it ({kept / 3600:g} h)" if kept else ", as long as the server keeps it"
    per = f" of each {feed.position['per']}" if "per" in feed.position else ""
    reasons = {
        EXACTLY_ONCE: f"the client resumes from a number{while_kept}",
        WITHIN_LOOK_BACK: (
            f"the client resumes {feed.resume.get('overlap', 0):g} s before a time{while_kept}, and drops what comes "
            "twice by its id"
        ),
        LOSS_COUNTED: f"the server cannot resume; a missing number{per} is a lost post",
        LOSS_TIMED: "the server cannot resume and numbers nothing; only the seconds without a connection are known",
    }
    found = guarantee(feed)
    return f"{found}: {reasons[found]}"
