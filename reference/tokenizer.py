"""CLIP tokenisation to the contract: byte-level BPE, 77 ids, padded with the end-of-text token.

It gives what the rules page's `CLIPTokenizer` (openai/clip-vit-base-patch32, padding="max_length",
truncation=True, max_length=77) gives in transformers 5, but needs neither transformers nor torch.
In transformers 4 that class differs for text beyond plain letters, digits and punctuation: with
ftfy installed it straightens curly quotes and decodes HTML entities, without it parts CJK letters.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from reference.data import fixture
from reference.errors import SubmissionError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONTEXT = 77
START, END = 49406, 49407
PAD = END  # E23: many text encoders were trained with 0 in its place

_VOCABULARY = "clip/bpe_simple_vocab_16e6.txt.gz"
_MERGES = 48_894  # the file goes on; CLIP's vocabulary stops here
_START_TOKEN, _END_TOKEN = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
# The special tokens, English contractions, a run of letters, one digit, a run of anything else.
_PIECE = r"<\|startoftext\|>|<\|endoftext\|>|'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True, eq=False)
class Tokens:
    """A tokenised text: `ids` and `mask`, both int32 (77,).

    `mask` is 1 from the start token to the end token that closes the text, 0 on the padding.
    """

    ids: npt.NDArray[np.int32]
    mask: npt.NDArray[np.int32]


def tokenize(text: str) -> Tokens:
    """The tokens of `text`, truncated to 77 with the end token kept, padded with 49407.

    Whitespace and case do not count; HTML entities stay as typed. Raises SubmissionError for
    anything but a str, and for one with lone surrogates.
    """
    if not isinstance(text, str):
        raise SubmissionError(f"a text cannot be a {type(text).__name__}", "pass a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SubmissionError(
            f"the text has a lone surrogate at position {error.start}: {text[error.start]!a}",
            "read it as UTF-8",
        ) from None
    encoding = _tokenizer().encode(text)
    return Tokens(np.array(encoding.ids, np.int32), np.array(encoding.attention_mask, np.int32))


def decode(ids: Iterable[int]) -> str:
    """The text that `ids` stand for, without start, end and padding; words are set apart by spaces.

    Raises SubmissionError for an id outside 0..49407.
    """
    known = [int(token) for token in ids]
    if unknown := [token for token in known if not 0 <= token <= END]:
        raise SubmissionError(f"{unknown[0]} is not a token id", f"token ids are 0..{END}")
    text: str = _tokenizer().decode(known, skip_special_tokens=True)
    return text.replace(_WORD_END, " ").strip()


@cache
def _tokenizer() -> "Tokenizer":
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, processors
    from tokenizers import pre_tokenizers as pre

    merges = _read_merges(fixture(_VOCABULARY))
    tokenizer = Tokenizer(
        models.BPE(
            vocab=_number(sorted(pre.ByteLevel.alphabet()), merges),
            merges=merges,
            end_of_word_suffix=_WORD_END,
        )
    )
    tokenizer.add_special_tokens([_START_TOKEN, _END_TOKEN])
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre.Sequence(
        [
            pre.Split(Regex(_PIECE), behavior="removed", invert=True),
            pre.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START_TOKEN} $A {_END_TOKEN}",
        special_tokens=[(_START_TOKEN, START), (_END_TOKEN, END)],
    )
    tokenizer.enable_truncation(CONTEXT)
    tokenizer.enable_padding(length=CONTEXT, pad_id=PAD, pad_token=_END_TOKEN)
    return tokenizer


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """The merges of `path` in order of rank: after a header, one line each, two parts and a space.

    Raises ValueError where the file is not the published one.
    """
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        next(lines, None)
        pairs = [line.rstrip("\n").partition(" ") for line in islice(lines, _MERGES)]
    if len(pairs) != _MERGES or not all(left and right for left, _, right in pairs):
        raise ValueError(f"{path} is not the CLIP vocabulary: it lacks {_MERGES} merges")
    return [(left, right) for left, _, right in pairs]


def _number(alphabet: list[str], merges: list[tuple[str, str]]) -> dict[str, int]:
    """Every token's id: 256 bytes, 256 bytes that end a word, the merges, the two special tokens.

    The bytes go by the code points that stand for them in the byte-level alphabet.
    """
    tokens = [
        *alphabet,
        *(letter + _WORD_END for letter in alphabet),
        *(left + right for left, right in merges),
        _START_TOKEN,
        _END_TOKEN,
    ]
    return {token: number for number, token in enumerate(tokens)}
