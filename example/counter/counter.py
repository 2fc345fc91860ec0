"""A counter that remembers: each task gets the state, and says what it is from now on."""


def init(state, args, instance):
    """Starts at `value`."""
    return {"state": {"value": args.get("value", 0), "requests": 0}, "answer": "initialized"}


def execute(state, args, instance):
    """Adds `by`, which may be negative, and answers the new value."""
    value = state["value"] + args["by"]
    return {"state": {"value": value, "requests": state["requests"] + 1}, "answer": value}


def exit(state, args, instance):
    """Answers the last value, and how many requests there were, this one counted."""
    return {"answer": {"value": state["value"], "requests": state["requests"] + 1}}
