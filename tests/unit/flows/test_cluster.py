"""What a worker's process is set up with."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def test_what_was_imported_is_passed_over_and_garbage_is_still_collected() -> None:
    program = """
        import gc, weakref
        from flows.cluster import freeze_imports

        class Node: pass

        def cycle():
            node = Node()
            node.itself = node
            return weakref.ref(node)

        before = cycle()
        often = gc.get_threshold()
        freeze_imports()
        assert before() is None
        frozen = gc.get_freeze_count()
        assert frozen > 50_000
        after = cycle()
        kept = [[] for _ in range(20 * often[0])]
        assert after() is None, "collected on its own"
        freeze_imports()
        assert gc.get_freeze_count() <= frozen, "once"
        assert gc.get_threshold() == often
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)
