"""The job `word_count`: {"path": "a/b.md"} or {"text": "..."} on stdin, {"words", "lines"} on stdout.

The first argument is the directory to which paths are relative; the default is the working
directory. Errors go to stderr, which the worker logs with the job's id.
"""

import json
import os
import sys


def read(root, relative):
    """Returns the text of a file below `root`; invalid UTF-8 is replaced."""
    root = os.path.realpath(root)
    path = os.path.realpath(os.path.join(root, relative))
    if os.path.commonpath([root, path]) != root:
        sys.exit(f"{relative}: leaves the directory that this worker serves")
    # Keep line ends: universal newlines would change the count.
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        return file.read()


def count(text):
    """Counts words between white space, and lines, of which the last may lack its newline."""
    unended = 1 if text and not text.endswith("\n") else 0
    return {"words": len(text.split()), "lines": text.count("\n") + unended}


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    data = json.load(sys.stdin)
    text = data["text"] if "text" in data else read(root, data["path"])
    json.dump(count(text), sys.stdout)


if __name__ == "__main__":
    main()
