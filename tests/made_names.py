"""Names that tokenizers and spellings find hard."""

from __future__ import annotations

NAMES = [
    "Herat",
    "Oran",
    "New Cairo",
    "Cairo",
    "US",
    "us",
    "Łódź",
    "São Tomé",
    "東京",
    "😀🏽",
    "e\u0301",
    "İzmir",
    "℡ Ａ",
]
