"""A counter with a state: each task gets the state and returns the new one."""


def init(state, args, instance):
    """Starts at `value`."""
    return {"state": {"value": args.get("value", 0), "requests": 0}, "answer": "initialized"}


def execute(state, args, instance):
    """Adds `by`, which may be negative, and answers the new value."""
    value = state["value"] + args["by"]
    return {"state": {"value": value, "requests": state["requests"] + 1}, "answer": value}


def exit(state, args, instance):
    """Answers the last value and the number of requests, including this one."""
    return {"answer": {"value": state["value"], "requests": state["requests"] + 1}}
