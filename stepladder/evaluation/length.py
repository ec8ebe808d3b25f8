"""Whether prompts fit the engine, counted before it starts: it would refuse the first that does not."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.errors import StepladderError
from stepladder.prompting.compose import Request
from stepladder.tuning.rows import load_tokenizer, tokenise

_MOST_NAMED = 5


def require_fitting(prompts: Sequence[tuple[str, Request]], base: str, limit: int) -> None:
    """Stop where a prompt and the answer allowed to it are longer than the engine reads.

    Args:
        prompts: each with a name for the error, such as ``case c12``.
        base: folder or hub id of the model that has the tokenizer.
        limit: ``engine.max_model_len``, tokens.

    Raises:
        StepladderError: it names the first prompts that are too long, with their lengths.
    """
    tokenizer = load_tokenizer(base)
    lengths = [
        (name, len(tokenise(tokenizer, request.messages, "").prompt_ids), request.max_tokens)
        for name, request in prompts
    ]
    long = [
        f"\n  {name}: {prompt} tokens, and {answer} to answer"
        for name, prompt, answer in lengths
        if prompt + answer > limit
    ]
    if not long:
        return
    more = f"\n  and {len(long) - _MOST_NAMED} more" if len(long) > _MOST_NAMED else ""
    raise StepladderError(
        f"{len(long)} of {len(prompts)} prompts are longer than the {limit} tokens that the engine reads:"
        f"{''.join(long[:_MOST_NAMED])}{more}",
        where="engine.max_model_len in params.yaml",
        remedy="shorten these rows, lower sizes.*.context_tokens or evaluation.few_shot, or raise"
        " engine.max_model_len as far as the model goes",
    )
