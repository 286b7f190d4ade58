"""Validates a value against a JSON schema, by a judge that is not ours: jsonschema."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator


def wrong(value: Any, schema: dict[str, Any]) -> list[str]:
    """One line for everything that is wrong with the value."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)]
