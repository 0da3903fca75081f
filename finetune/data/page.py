"""The page of a check: one HTML file that needs no other, with plots, faults and short clips to listen to."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from app.audio import Waveform, resample, to_pcm16
from app.media import open_encoder

CLIP_SECONDS = 8.0
"""Longest part of a recording on the page."""
CLIP_RATE = 16_000
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #8884; padding: .3rem .6rem;
text-align: left; vertical-align: top } figure { display: inline-block; margin: .5rem } figure img { background: #fff }
.fault { color: #b3261e; font-weight: 600 } .warning { color: #8a6100; font-weight: 600 } audio { height: 2rem }
@media (prefers-color-scheme: dark) { .fault { color: #ff8a80 } .warning { color: #ffcf66 } }
"""


@dataclass(frozen=True, slots=True)
class Player:
    """A clip with what is written about it."""

    title: str
    note: str
    audio: str
    """Data URI."""


def player(title: str, note: str, waveform: Waveform, rate: int) -> Player:
    """A clip of the first CLIP_SECONDS, as mp3: what every browser plays, at a tenth of the size."""
    part = np.clip(resample(waveform[: int(CLIP_SECONDS * rate)], rate, CLIP_RATE), -1, 1)
    encoder = open_encoder("mp3", CLIP_RATE)
    data = encoder.feed(to_pcm16(part)) + encoder.finish()
    return Player(title, note, f"data:audio/mpeg;base64,{base64.b64encode(data).decode()}")


def page(
    title: str,
    facts: Mapping[str, str],
    pictures: Mapping[str, str],
    counts: Sequence[tuple[str, bool, int, Sequence[str]]],
    groups: Mapping[str, Sequence[Player]],
) -> str:
    """HTML. `counts`: (kind, is it a warning, how many, examples); `groups`: players under a heading."""
    parts = [f"<h1>{escape(title)}</h1><table>"]
    parts += [f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()]
    parts.append("</table><h2>Faults</h2>")
    parts.append("<table><tr><th>kind</th><th>how many</th><th>examples</th></tr>" if counts else "<p>None.</p>")
    for kind, is_warning, count, examples in counts:
        mark = "warning" if is_warning else "fault"
        listed = "<br>".join(escape(example) for example in examples)
        parts.append(f'<tr><td class="{mark}">{mark}: {escape(kind)}</td><td>{count}</td><td>{listed}</td></tr>')
    parts.append("</table><h2>What is there</h2>" if counts else "<h2>What is there</h2>")
    return document(title, parts, pictures, groups)


def document(
    title: str, parts: Sequence[str], pictures: Mapping[str, str], groups: Mapping[str, Sequence[Player]]
) -> str:
    """The whole page: HTML `parts`, then pictures by caption (data URIs), then players under their headings."""
    parts = [*parts]
    for name, uri in pictures.items():
        caption = escape(name)
        parts.append(f'<figure><figcaption>{caption}</figcaption><img src="{uri}" alt="{caption}"></figure>')
    for heading, players in groups.items():
        parts.append(f"<h2>{escape(heading)}</h2><table>")
        for one in players:
            parts.append(
                f"<tr><td>{escape(one.title)}</td><td>{escape(one.note)}</td>"
                f'<td><audio controls preload="none" src="{one.audio}"></audio></td></tr>'
            )
        parts.append("</table>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
