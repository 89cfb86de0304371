"""Reads an endpoint as Prometheus does, by its own client's parser."""

from __future__ import annotations

import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


def fetch(url: str, token: str | None = None) -> tuple[int, str]:
    """Status and body of a GET."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """Value of each sample by its name and labels, the label `line` left out."""
    return {
        (sample.name, frozenset((k, v) for k, v in sample.labels.items() if k != "line")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    """One sample's value. Raises KeyError where the endpoint has none."""
    return samples(text)[name, frozenset(labels.items())]
