"""Which refusals end a model for a while: those of its key or account, in the words that providers use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jisi_cli.models.failure import codes_in, is_page, words_in
from jisi_cli.models.key_refusal import is_about_key


def ends_the_model(body: Any, status: int = 403) -> bool:
    text = body if isinstance(body, str) else json.dumps(body)
    return is_about_key(status, " ".join((words_in(text), *codes_in(text))), page=is_page(text))


@pytest.mark.parametrize(
    "body",
    [
        # OpenAI
        {"error": {"message": "You have insufficient permissions for this operation. Missing scopes: model.request"}},
        {"error": {"message": "Project `proj_1` does not have access to model `o9`", "code": "model_not_found"}},
        # Anthropic
        {
            "type": "error",
            "error": {
                "type": "permission_error",
                "message": "Your API key does not have permission to use the specified resource.",
            },
        },
        # Google
        {
            "error": {
                "status": "PERMISSION_DENIED",
                "message": "Requests from referer <empty> are blocked.",
                "details": [{"reason": "API_KEY_HTTP_REFERRER_BLOCKED"}],
            }
        },
        {"error": {"status": "PERMISSION_DENIED", "message": "Your API key was reported as leaked."}},
        # Bedrock, Groq, xAI, OpenRouter, DashScope, the Hugging Face hub, LiteLLM's proxy
        {"message": "You don't have access to the model with the specified model ID."},
        {"error": {"message": "The model `m` is blocked at the project level. Please have a project admin enable it"}},
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your newly created team doesn't have any credits yet.",
        },
        {"error": {"message": "Key limit exceeded (total limit)", "code": 403}},
        {
            "error": {
                "code": "AllocationQuota.FreeTierOnly",
                "message": "The free tier of the model has been exhausted.",
            }
        },
        {"error": "This authentication method does not have sufficient permissions to call Inference Providers"},
        {"error": {"message": "Your account has been suspended for violating our usage policies", "type": "forbidden"}},
        {"error": {"message": "Access denied by the policy of your organization"}},
        "Forbidden",
        "",
    ],
)
def test_a_refusal_of_the_key_or_the_account_ends_a_model(body: Any) -> None:
    assert ends_the_model(body)


@pytest.mark.parametrize(
    "body",
    [
        # OpenRouter
        {
            "error": {
                "code": 403,
                "message": 'm requires moderation on P. Your input was flagged for "violence".',
                "metadata": {"reasons": ["violence"], "flagged_input": "How …"},
            }
        },
        # xAI names the key, and says that the caller has no permission
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Team: t, API key ID: k, Model: m, "
            "Failed check: SAFETY_CHECK_TYPE_BIO",
        },
        {"error": {"code": "content_policy_violation", "message": "Forbidden"}},
        {"error": {"type": "data_inspection_failed", "message": "Output data may contain inappropriate content."}},
        # OpenAI, from some places
        {
            "error": {
                "code": "unsupported_country_region_territory",
                "message": "Country, region, or territory not supported",
                "type": "request_forbidden",
            }
        },
        {"error": {"message": "The model is not available in your region.", "code": 403}},
        {"error": {"type": "forbidden", "message": "Request not allowed"}},
        # Together
        {"error": {"message": "Input token count + max_tokens must be <= 8193"}},
        # a firewall on the way
        "<!DOCTYPE html><html><head><title>Attention Required! | Cloudflare</title></head>"
        "<body>Sorry, you have been blocked</body></html>",
    ],
)
def test_a_refusal_of_one_request_ends_no_model(body: Any) -> None:
    assert not ends_the_model(body)


def test_other_statuses_go_by_what_they_mean() -> None:
    assert ends_the_model("Your input was flagged", status=401)
    assert ends_the_model({"error": {"message": "API key not valid. Please pass a valid API key."}}, status=400)
    assert not ends_the_model({"error": {"message": "Unknown parameter: top_q"}}, status=400)
    assert not ends_the_model({"error": {"message": "Your account has been suspended"}}, status=429)
