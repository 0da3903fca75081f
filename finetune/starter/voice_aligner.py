"""Which frames each phone of a transcript takes: an HMM trained from nothing on the recordings. Knows no language.

Three states a phone with a Gaussian each, optional silence between words, Viterbi training from an even division: the
method of EHMM (Prahallad, Black and Mosur 2006). It needs only phone (or letter) sequences, so it serves any language.
Legend: T frames, D features, S states of one utterance, Q tied states of the model, B batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from finetune.starter.voice_features import Floats

PAUSE = "pau"
STATES = 3
CEPSTRA = 13
BATCH = 64
LEARNING = 400  # utterances: about 20 minutes give every state its frames
SILENCE_PENALTY = 6.0  # nats for a pause between words: the hold of a stop is no pause
VARIANCE_FLOOR = 0.05  # of a normalised feature
IMPOSSIBLE = -1e30

Words: TypeAlias = list[list[str]]
"""One utterance: the phones of each word."""
Segments: TypeAlias = list[tuple[str, int]]
"""Phones with their frames, in order; PAUSE where the speaker paused. The frames add up to T."""


@dataclass(frozen=True, slots=True)
class _Utterance:
    features: Floats  # [T, D]
    states: NDArray[np.int64]  # [S] tied state of each
    skips: NDArray[np.int64]  # [S] state from which it can be reached besides itself and its left neighbour, or -1
    phones: list[str]
    """Phone of each run of STATES states."""


def align(mels: list[Floats], texts: list[Words], rounds: int = 14) -> list[Segments]:
    """Segments of each utterance from log-mel frames [T, MELS] and its words; all rounds but two learn from a part.

    Raises ValueError for an utterance with fewer frames than its phones need.
    """
    tied = {
        phone: n for n, phone in enumerate(sorted({p for words in texts for word in words for p in word} | {PAUSE}))
    }
    features = _features(mels)
    utterances = [_utterance(f, words, tied) for f, words in zip(features, texts, strict=True)]
    part = utterances[:: max(1, len(utterances) // LEARNING)]
    paths = [_even_path(utterance) for utterance in part]
    for turn in tqdm(range(rounds), desc="aligner", unit="round"):
        # Whole covariances once the boundaries are roughly right: with few frames of each they would fit noise.
        model = _estimate(part, paths, len(tied) * STATES, whole=turn >= rounds // 2)
        part = utterances if turn >= rounds - 2 else part
        paths = _best_paths(part, model)
    return [_segments(utterance, path) for utterance, path in zip(utterances, paths, strict=True)]


def least_frames(words: Words) -> int:
    """Frames that an utterance needs: two a phone, and its silences."""
    return 2 * STATES + 2 * sum(len(word) for word in words)


def _features(mels: list[Floats]) -> list[Floats]:
    """Cepstra with first and second differences [T, 3 * CEPSTRA], normalised over the corpus."""
    bands = mels[0].shape[1]
    basis = np.cos(np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(CEPSTRA))
    rows = []
    for mel in mels:
        cepstra = mel.astype(np.float32) @ basis
        padded = np.pad(cepstra, ((2, 2), (0, 0)), mode="edge")
        first = padded[4:] * 0.2 + padded[3:-1] * 0.1 - padded[1:-3] * 0.1 - padded[:-4] * 0.2
        second = np.gradient(first, axis=0) if len(first) > 1 else first * 0
        rows.append(np.concatenate([cepstra, first, second], axis=1))
    everything = np.concatenate(rows)
    mean, deviation = everything.mean(axis=0), everything.std(axis=0) + 1e-6
    return [((row - mean) / deviation).astype(np.float32) for row in rows]


def _utterance(features: Floats, words: Words, tied: dict[str, int]) -> _Utterance:
    phones, optional = [PAUSE], [False]
    for number, word in enumerate(words):
        if number:
            phones.append(PAUSE)
            optional.append(True)
        phones += word
        optional += [False] * len(word)
    phones.append(PAUSE)
    states: list[int] = []
    skips: list[int] = []
    for index, phone in enumerate(phones):
        for part in range(STATES):
            here = len(states)
            # Silence has one sound for all its states; they only give it a least length.
            states.append(tied[phone] * STATES + (0 if phone == PAUSE else part))
            after_optional = part == 0 and index > 0 and optional[index - 1]
            skips.append(here - STATES - 1 if after_optional else here - 2 if part == 2 and phone != PAUSE else -1)
    least = least_frames(words)
    if len(features) < least:
        raise ValueError(f"{len(features)} frames for {len(phones)} phones, expected at least {least}")
    return _Utterance(features, np.array(states), np.array(skips), phones)


def _even_path(utterance: _Utterance) -> NDArray[np.int64]:
    """Every phone equally long between the silences at the ends; optional pauses are left out."""
    loudness = utterance.features[:, 0]
    quiet = loudness < np.percentile(loudness, 10) + 0.25 * np.ptp(loudness)
    begin, end = int(np.argmin(quiet)), len(quiet) - int(np.argmin(quiet[::-1]))
    count = len(utterance.states)
    spoken = np.array([n for n in range(STATES, count - STATES) if utterance.phones[n // STATES] != PAUSE])
    if end - begin < len(spoken):
        begin, end = 0, len(loudness)
    middle = spoken[np.minimum((np.arange(end - begin) * len(spoken)) // max(1, end - begin), len(spoken) - 1)]
    return np.concatenate([np.zeros(begin, int), middle, np.full(len(loudness) - end, count - 1)])


def _estimate(utterances: list[_Utterance], paths: list[NDArray[np.int64]], count: int, *, whole: bool) -> Floats:
    """Gaussians of the tied states as weights [_monomials(D), Q]: log density is linear in products of features."""
    frames = np.concatenate([u.features for u in utterances])
    labels = np.concatenate([u.states[path] for u, path in zip(utterances, paths, strict=True)])
    size = frames.shape[1]
    upper, lower = np.triu_indices(size)
    weights = np.zeros((len(upper) + size + 1, count))
    weights[-1] = IMPOSSIBLE
    for state in np.unique(labels):
        mine = frames[labels == state]
        mean, variance = mine.mean(axis=0), mine.var(axis=0)
        covariance = np.diag(variance * (len(mine) / (len(mine) + 5)) + VARIANCE_FLOOR)
        if whole and len(mine) > 2 * size:
            keep = len(mine) / (len(mine) + 10 * size)  # shrinks rare states towards independent features
            covariance += keep * (np.cov(mine.T) - np.diag(variance))
        precision = np.linalg.inv(covariance)
        weights[: len(upper), state] = -0.5 * precision[upper, lower] * np.where(upper == lower, 1, 2)
        weights[len(upper) : -1, state] = precision @ mean
        weights[-1, state] = 0.5 * (np.linalg.slogdet(precision)[1] - mean @ precision @ mean)
    return weights.astype(np.float32)


def _monomials(frames: Floats) -> Floats:
    """[T, D] to all products of two features, the features, and one: [T, D * (D + 1) / 2 + D + 1]."""
    upper, lower = np.triu_indices(frames.shape[1])
    return np.concatenate([frames[:, upper] * frames[:, lower], frames, np.ones_like(frames[:, :1])], axis=1)


def _best_paths(utterances: list[_Utterance], model: Floats) -> list[NDArray[np.int64]]:
    """Viterbi over batches of utterances of similar length."""
    order = sorted(range(len(utterances)), key=lambda n: len(utterances[n].features))
    paths: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(utterances)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        for number, path in zip(chosen, _viterbi([utterances[n] for n in chosen], model), strict=True):
            paths[number] = path
    return paths


def _viterbi(batch: list[_Utterance], model: Floats) -> list[NDArray[np.int64]]:
    longest, widest = max(len(u.features) for u in batch), max(len(u.states) for u in batch)
    scores = np.concatenate([_monomials(u.features) @ model for u in batch])
    emissions = np.full((longest, len(batch), widest), IMPOSSIBLE, np.float32)
    skips = np.full((len(batch), widest), -1)
    row = 0
    for number, u in enumerate(batch):
        emissions[: len(u.features), number, : len(u.states)] = scores[row : row + len(u.features)][:, u.states]
        skips[number, : len(u.skips)] = u.skips
        row += len(u.features)
    penalties = np.zeros((len(batch), widest), np.float32)
    for number, u in enumerate(batch):
        penalties[number, : len(u.states)] = np.where(
            (np.arange(len(u.states)) % STATES == 0) & (u.states == u.states[0]), SILENCE_PENALTY, 0
        )
    sources, rows = np.maximum(skips, 0), np.arange(len(batch))[:, None]
    best = np.full((len(batch), widest), IMPOSSIBLE, np.float32)
    best[:, 0] = emissions[0, :, 0]
    back = np.zeros((longest, len(batch), widest), np.int8)
    for t in range(1, longest):
        step = np.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=IMPOSSIBLE) - penalties
        skip = np.where(skips >= 0, best[rows, sources], np.float32(IMPOSSIBLE))
        moved = np.maximum(step, skip)
        back[t] = np.where(best >= moved, 0, np.where(step >= skip, 1, 2))
        best = np.maximum(best, moved) + emissions[t]
        np.maximum(best, IMPOSSIBLE, out=best)
    return [_trace(u, back[: len(u.features), number]) for number, u in enumerate(batch)]


def _trace(utterance: _Utterance, back: NDArray[np.int8]) -> NDArray[np.int64]:
    state = len(utterance.states) - 1
    path = np.zeros(len(back), np.int64)
    for t in range(len(back) - 1, -1, -1):
        path[t] = state
        move = back[t, state]
        state = state if move == 0 else state - 1 if move == 1 else int(utterance.skips[state])
    return path


def _segments(utterance: _Utterance, path: NDArray[np.int64]) -> Segments:
    runs = np.bincount(path // STATES, minlength=len(utterance.phones))
    return [(phone, int(frames)) for phone, frames in zip(utterance.phones, runs, strict=True) if frames]
