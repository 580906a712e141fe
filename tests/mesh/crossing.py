"""
Two humds that dial each other, in a world of random delays: what the one-link rule promises, tried out.

A schedule is a number: the same number gives the same schedule.  *Smooth* ones have delays only; *rough* ones break,
stall and silence connections, restart humds and redial as well.

Both sides ask and answer all the while.  Each line carries a number of its direction, so that a reader sees whether
one is missing, doubled or out of turn; and each ask is open until it is answered or its asker was told of a loss.
"""

from __future__ import annotations

from functools import partial

from tests.mesh.crossing_world import LARGER, QUIET, SMALLER, End, Node, World


def smooth(seed: int) -> list[str]:
    """
    Both dial at once and nothing breaks.

    :returns: the promises that were broken.
    """
    world = World(seed)
    luck = world.random
    nodes = _pair(world, luck.random() < 0.7, redials=False)
    for node in nodes:
        world.at(luck.uniform(0, world.slow), node.dial)
        for _ in range(luck.randrange(60)):
            world.at(luck.uniform(0, 8 * world.slow), node.ask)
    world.run()
    broken = [problem for node in nodes for problem in node.broken]
    if any(node.told for node in nodes):
        broken.append("a loss was told")
    if any(node.open for node in nodes):
        broken.append("an ask has no answer")
    if any(node.asked != node.other.answered for node in nodes):
        broken.append("an ask was not read")
    if [len(node.links.links()) for node in nodes] != [1, 1]:
        broken.append("not one link is left")
    elif nodes[0].target is None or nodes[1].target is not nodes[0].target.other:
        broken.append("they write on different links")
    elif nodes[0].target.paused or nodes[1].target.paused:
        broken.append("one does not read")
    return broken


def rough(seed: int) -> list[str]:
    """
    Both dial, and redial, while connections and humds break.

    :returns: the promises that were broken.
    """
    world = World(seed)
    luck = world.random
    nodes = _pair(world, obey=True, redials=True)
    busy = luck.choice([8 * world.slow, 4.0, 12.0, 40.0])
    for node in nodes:
        world.at(luck.uniform(0, world.slow), node.dial)
        for _ in range(luck.randrange(60)):
            world.at(luck.uniform(0, busy), node.ask)
    for _ in range(luck.randrange(1, 6)):
        trouble = luck.choice([_cut, _end, _stall, _silence, _restart, _evict])
        world.at(
            luck.uniform(0, luck.choice([busy, 8 * world.slow])),
            partial(trouble, world, luck.choice(nodes)),
        )
    world.run()
    broken = [problem for node in nodes for problem in node.broken]
    if any(node.open for node in nodes):
        broken.append("somebody waits for ever")
    if any(len(node.links.links()) > 1 for node in nodes):
        broken.append("more than one link is left")
    return broken


def _pair(world: World, obey: bool, redials: bool) -> tuple[Node, Node]:
    one, two = Node(world, SMALLER, LARGER, obey, redials), Node(world, LARGER, SMALLER, obey, redials)
    one.other, two.other = two, one
    return one, two


def _some_end(world: World, node: Node) -> End | None:
    return world.random.choice(node.ends) if node.ends else None


def _cut(world: World, node: Node) -> None:
    """A connection is reset; the sides notice when they do."""
    end = _some_end(world, node)
    if end is not None:
        for side in (end, end.other):
            world.at(world.now + world.random.uniform(0, 3), side.broken)


def _end(world: World, node: Node) -> None:
    """A connection is ended behind what is on its way; each side notices when all of that has come."""
    end = _some_end(world, node)
    if end is not None:
        for side in (end, end.other):
            world.at(world.now + world.random.choice([0, world.random.uniform(0, 12)]), side.cut)


def _stall(world: World, node: Node) -> None:
    """One direction stands still for a while."""
    end = _some_end(world, node)
    if end is not None:
        end.arrives = max(end.arrives, world.now + world.random.uniform(0, 12))


def _silence(world: World, node: Node) -> None:
    """A connection carries nothing more; liveness finds out."""
    end = _some_end(world, node)
    if end is not None:
        for side in (end, end.other):
            side.arrives = QUIET + 1
            world.at(world.now + world.random.uniform(6, 45), side.broken)


def _evict(world: World, node: Node) -> None:
    """A pending link has to go."""
    for end in list(node.ends):
        if end.state == "pending":
            end.abort()
            return


def _restart(world: World, node: Node) -> None:
    """The process dies and comes back; whether the other side is told at once is luck."""
    for end in list(node.ends):
        end.state = "closed"
        end.inbox.clear()
        world.at(world.now + world.random.choice([world.delay(), world.random.uniform(6, 45)]), end.other.broken)
    node.boot()
    world.at(world.now + world.random.uniform(0, 3), node.dial)
