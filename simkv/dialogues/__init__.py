"""What did people ask, turn by turn, in the public dialogue sets? One format a file; the form is in `question.py`."""

from simkv.dialogues.question import DIALOGUES, About, Dialogue, DialogueFormat, Query, Span
from simkv.dialogues.reading import DialogueSet, read_dialogues

__all__ = [
    "DIALOGUES",
    "About",
    "Dialogue",
    "DialogueFormat",
    "DialogueSet",
    "Query",
    "Span",
    "read_dialogues",
]
