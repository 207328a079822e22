"""The demonstrations of an example, for sources that combine them with samples."""

from scalpel.data.example import Example, named
from scalpel.sources.context import SourceContext


def demonstrations_of(context: SourceContext, example: Example, place: int, reader: str) -> list[list[int]]:
    """Its completion and the texts of its column `demonstrations`, without duplicates, as ids. ValueError if it has
    none."""
    more = example.columns.get("demonstrations") or ()
    if isinstance(more, str) or not all(isinstance(text, str) for text in more):
        raise ValueError(
            f"{named(example, place)} has demonstrations that are no list of texts: give a list, or one text "
            "in a column 'completion'"
        )
    texts = dict.fromkeys([*([] if example.completion is None else [example.completion]), *more])
    if not texts:
        raise ValueError(
            f"source {reader!r} needs demonstrations, but {named(example, place)} has no completion: add a "
            "column 'completion' or 'demonstrations', or take source 'groups', which needs none"
        )
    return [context.tokens.completion(text, example.prompt) for text in texts]
