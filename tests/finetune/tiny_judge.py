"""`python -m tests.finetune.tiny_judge KILL KEY=VALUE...` runs the judge recipe and kills itself at batch KILL."""

from __future__ import annotations

from finetune.recipes import judge
from finetune.recipes.judge_batches import Batches
from tests.finetune import dying
from tests.finetune.test_judge_recipe import TINY

if __name__ == "__main__":
    dying.run(judge, Batches, TINY)
