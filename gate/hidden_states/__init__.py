"""What is read inside a model for one answer: which numbers they are, how they are made and how they travel.

Two places make them, the pocket model with numpy and `gate.engine_plugin` inside a vLLM server with torch. What both
must agree on is here, and needs numpy alone.

A *row* is what is read at one position. Row 0 is the token before the answer, rows 1 to m are the tokens of the answer
that the model took in; row j foretells token j + 1. So the states of an answer are those of rows 1 to m, and how its
tokens came about is told by rows 0 to m - 1. The last token of an answer that reached its limit is never taken in, and
what foretells the end of an answer is no token of it: both are left out by the same rule.
"""
