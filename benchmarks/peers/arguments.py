"""What all peers need beside their arguments."""

import os
import tempfile

CHECKPOINT_SECONDS = 2.0


def state_folder() -> str:
    """A new folder for a peer's state, in the folder STATE_FOLDER."""
    return tempfile.mkdtemp(dir=os.environ.get("STATE_FOLDER"))
