"""What comes from outside, made up. `FUZZ=full`, as `make fuzz` says, for much of it; FUZZ_SEED for the same again."""

import os
import random

FULL = os.environ.get("FUZZ") == "full"
SEED = int(os.environ.get("FUZZ_SEED") or random.randrange(2**32))
