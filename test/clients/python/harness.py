"""What the drivers share: the question, a decorator for calls, and the lines that the runner reads."""

import importlib.metadata
import json
import os
import sys
import traceback

URL = os.environ["WINNOW_URL"]
_question = json.loads(os.environ["WINNOW_QUESTION"])
MODEL, QUERY, DOCUMENTS = _question["model"], _question["query"], _question["documents"]
KEY = "any"


def index_of(text):
    """The place of a passage in the question, for clients that answer with texts only."""
    return DOCUMENTS.index(text)


def _say(line):
    print(json.dumps(line), flush=True)
    sys.stdin.readline()


def driver(package):
    """Returns a decorator that runs a function at once, as one call of that package.

    The function returns pairs of index and score (None where the client shows no score) in the client's order, or a text for calls that rank
    nothing. `want` is how many entries its user asked for.
    """
    version = importlib.metadata.version(package)

    def call(name, want=None):
        def decorate(function):
            line = {"version": f"{package} {version}", "call": name}
            try:
                result = function()
                if isinstance(result, str):
                    line["seen"] = result
                else:
                    line["ranked"] = [[index, None if score is None else float(score)] for index, score in result]
                    line["want"] = len(DOCUMENTS) if want is None else want
            except Exception as error:
                traceback.print_exc()
                text = " ".join(f"{type(error).__name__}: {error}".split())
                line["error"] = text[:400]
            _say(line)
            return function

        return decorate

    return call


def expect(condition, text):
    """Fails the call with a text. Unlike `assert`, it is never compiled away."""
    if not condition:
        raise AssertionError(text)
