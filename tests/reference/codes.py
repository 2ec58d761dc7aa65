"""Quasi-cyclic codes written out: the whole graph as lists, and cycles found by plain breadth-first search."""

from __future__ import annotations

from collections import deque

from qkd.reconciliation.codes import Code


def graph(code: Code) -> list[list[int]]:
    """Neighbours of every node: check (r, t) is r*Z + t, bit (c, t) is rows*Z + c*Z + t."""
    z = code.lifting
    neighbours: list[list[int]] = [[] for _ in range((code.rows + code.columns) * z)]
    for r in range(code.rows):
        for e in range(code.starts[r], code.starts[r + 1]):
            for t in range(z):
                check = r * z + t
                bit = (code.rows + int(code.column[e])) * z + (t + int(code.shift[e])) % z
                neighbours[check].append(bit)
                neighbours[bit].append(check)
    return neighbours


def girth(code: Code) -> int:
    """Length of the shortest cycle, by a search from every bit."""
    neighbours = graph(code)
    best = len(neighbours)
    for start in range(code.rows * code.lifting, len(neighbours)):
        distance, parent = {start: 0}, {start: -1}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if 2 * distance[node] >= best:
                break
            for other in neighbours[node]:
                if other == parent[node]:
                    continue
                if other in distance:
                    best = min(best, distance[node] + distance[other] + 1)
                else:
                    distance[other], parent[other] = distance[node] + 1, node
                    queue.append(other)
    return best
