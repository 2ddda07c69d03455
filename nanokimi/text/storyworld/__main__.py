"""A worker of `nanokimi.text.storyworld.generate`; see `workers`."""

import sys

from nanokimi.text.storyworld.workers import work

if __name__ == "__main__":
    try:
        work(*map(int, sys.argv[1:]), sys.stdout.buffer)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nobody is left to tell
