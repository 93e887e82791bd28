"""Epoch seconds as yang:date-and-time, always with the offset that existing clients parse (slp-facts section 11)."""

from __future__ import annotations

from datetime import UTC, datetime


def date_and_time(seconds: float) -> str:
    """UTC to the second, such as `2026-11-24T04:17:15+00:00`."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
