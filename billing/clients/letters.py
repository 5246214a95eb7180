"""The letters of printed documents: what the embedded fonts have, and what stands for the rest.

They have Latin, Greek, Cyrillic, Armenian and Georgian. Scripts that run from right to left, or
join their letters, need a shaping that is not here; East Asian ones a font of megabytes. The
machine-readable record keeps every name as it is.
"""

import unicodedata
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

FONTS = Path(__file__).parent / "fonts"
PLAIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
for name in (PLAIN, BOLD):
    pdfmetrics.registerFont(TTFont(name, FONTS / f"{name}.ttf"))
RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "PDF", "PDI"})
# Of both weights, as a name may be printed in either.
KNOWN = frozenset(
    code
    for code in pdfmetrics.getFont(PLAIN).face.charToGlyph
    if code in pdfmetrics.getFont(BOLD).face.charToGlyph
    and unicodedata.bidirectional(chr(code)) not in RIGHT_TO_LEFT
)


def shown(text: str) -> str:
    """As reportlab's paragraphs take it: `lettered`, and nothing in it is markup."""
    return escape(lettered(text))


def lettered(text: str) -> str:
    """Text in the letters that there are: else without its accent, else a question mark.

    Accents that come apart join their letters. Lines become one, which the page breaks as it needs.
    """
    joined = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(c if ord(c) in KNOWN else _nearest(c) for c in joined)


def _nearest(letter: str) -> str:
    bare = unicodedata.normalize("NFKD", letter)[:1]
    return bare if bare and ord(bare) in KNOWN else "?"
