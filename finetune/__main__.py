"""`python -m finetune RECIPE ...`: `parley finetune` for jobs and for `accelerate launch -m finetune`."""

from __future__ import annotations

import sys

from finetune.command import main

sys.exit(main(sys.argv[1:]))
