"""Readings of a thermometer, kept in a heap: readings.py STORE VALUE...

The values lie in the heap as doubles, one after the other; a memoryview shows them without copying. Each run adds some in
one commit, names it, and compares the mean with that of the run before.
"""

import sys

import varve


def append(heap, values):
    count = heap.root("count", "q")
    size = 8 * (count.value + len(values))
    readings = heap.bytes("readings", size)
    if len(readings) < size:
        readings = heap.resize_bytes("readings", 2 * size)  # room for more
    for value in values:
        readings.cast("d")[count.value] = value
        count.value += 1


def mean(heap):
    count = heap.root("count", "q").value
    return sum(heap.bytes("readings").cast("d")[:count]) / count


def main(path, values):
    with varve.open_heap(path) as heap:
        run = heap.root("run", "q")
        before = run.value
        append(heap, [float(value) for value in values])
        run.value += 1
        heap.commit(f"run {run.value}", snapshot=f"run {run.value}")
        print(f"mean {mean(heap):.2f}")
        if before:
            with heap.at(f"run {before}") as past:
                print(f"was  {mean(past):.2f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
