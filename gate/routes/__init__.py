"""Routes: carrying out a decision. To add one: a file here and a line in ROUTES."""

from gate.routes.abstain import AbstainRoute
from gate.routes.answer import AnswerRoute
from gate.routes.clarify import ClarifyRoute
from gate.routes.escalate import EscalateRoute
from gate.routes.retrieve import RetrieveRoute

ROUTES = (AnswerRoute, RetrieveRoute, EscalateRoute, ClarifyRoute, AbstainRoute)

__all__ = ["ROUTES", "AbstainRoute", "AnswerRoute", "ClarifyRoute", "EscalateRoute", "RetrieveRoute"]
