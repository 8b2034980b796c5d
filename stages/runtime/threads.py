"""Work on several threads with the results in order, for functions that release Python's global
lock, such as Pillow's decoding."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from stages.runtime.processor import count_cores

MOST = 4  # items at work at a time: each may be a large image

Item = TypeVar("Item")
Result = TypeVar("Result")


def count_threads() -> int:
    """The number of threads that `map_in_order` starts: one for each core, up to `MOST`."""
    return min(count_cores(), MOST)


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`function` of each of `items`, in their order, computed by several threads. No more items
    than there are threads are taken before a result is asked for. Raises what `function` raises, in
    its item's turn."""
    threads = count_threads()
    # at the end, as before: in threads, `warnings.catch_warnings` may restore another's filters
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        started = deque()
        for item in items:
            started.append(pool.submit(function, item))
            if len(started) == threads:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
