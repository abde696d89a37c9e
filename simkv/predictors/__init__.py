"""What will be asked next, and how surely? One predictor a file; the question is in `question.py`."""

from simkv.predictors import (
    dialled_oracle,
    ensemble,
    markov,
    oracle,
    popularity,
    ppm_c,
    sequential,
    task_graph,
    topic,
    topic_embedding,
)
from simkv.predictors.question import PREDICTORS, History, Item, Outcome, Predictor

__all__ = [
    "PREDICTORS",
    "History",
    "Item",
    "Outcome",
    "Predictor",
    "dialled_oracle",
    "ensemble",
    "markov",
    "oracle",
    "popularity",
    "ppm_c",
    "sequential",
    "task_graph",
    "topic",
    "topic_embedding",
]
