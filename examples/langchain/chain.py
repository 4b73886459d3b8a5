"""LangChain: a policy as the model of a chain, and a policy behind the model of a chain. Runs offline.

pip install 'gate-llm[langchain]'
python examples/langchain/chain.py
"""

from __future__ import annotations

from pathlib import Path

from gate import AnswerWithheld
from gate.integrations.langchain import GateChatModel, gated  # says what to install where LangChain is not there

# isort: split
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

POLICY = Path(__file__).with_name("policy.yaml")
PROMPT = ChatPromptTemplate.from_messages([("user", "Where is {city}?")])


def policy_as_model() -> None:
    chain = PROMPT | GateChatModel(policy="balanced") | StrOutputParser()
    for city, answer in zip(("Nanjing", "Qwxyz"), chain.batch([{"city": "Nanjing"}, {"city": "Qwxyz"}]), strict=True):
        print(f"{city}: {answer}")


def policy_behind_model() -> None:
    # in the place of ChatOpenAI and the like: one that always says the same, and one that guesses
    sure = GenericFakeChatModel(messages=iter(["China"] * 6))
    guessing = GenericFakeChatModel(messages=iter(["Peru", "Chile", "Brazil", "Cuba", "Fiji", "Chad"]))

    message = (PROMPT | gated(sure, POLICY)).invoke({"city": "Nanjing"})
    decision = message.response_metadata["gate"]
    print(f"one who is sure: {message.text} (p = {decision['p']:.2f}, {decision['cost']['calls']} calls)")

    withheld = PROMPT | gated(guessing, POLICY, on_abstention="raise")
    human = PROMPT | (lambda asked: f"a person has it: {asked.messages[-1].content}")
    print(
        "one who guesses:",
        withheld.with_fallbacks([human], exceptions_to_handle=(AnswerWithheld,)).invoke({"city": "Lima"}),
    )


if __name__ == "__main__":
    policy_as_model()
    policy_behind_model()
